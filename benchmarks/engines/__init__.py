"""The workloads, once for each engine, as its users write them.

Every file has `WORKLOADS`, name -> function of the number of threads that sets the workload up and returns its step;
`CANNOT`, name -> why there is none; and `version()`.  A step does all of its work and returns its loss as a float: what
it returns can be compared between engines, which all start from `inputs`.  Only the worker imports these files, each in
an interpreter that has the engine.
"""
