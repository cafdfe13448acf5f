"""Engines: the way each trains, differentiates and is called, as benchmarks/workloads need it.

The worker imports a module in the environment of its engine, and calls its `use(threads)` where it has one.  JAX and
the engines after NumPy give the functions of the text that they share (`linear`, `softmax`, `concat`, ..), each written
as a user of that engine would, and

    differentiated(loss_of, parameters)             a step: loss_of(parameters) and its gradients
    pulled_back(function, inputs, g, elements)      a step: function(inputs), and gradients from the upstream gradient g
    trained(loss_of, parameters, batches)           a step of Adam on the next batch: loss_of(parameters, *batch)
"""
