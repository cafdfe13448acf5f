"""The benchmark: minattn and other engines do the same work, each in a process and an environment of its own.

workloads.py      what is measured
inputs.py         the same inputs, weights and targets for every engine
engines/          the workloads, one file an engine, as a user of that engine would write them
worker.py         runs one workload of one engine in that engine's environment

environments.py   where each engine's interpreter is, and how its environment is made
processes.py      the processes that are timed, and what else the machine does meanwhile
harness.py        the engines in turns, round by round
results.py        what was measured, and the arithmetic on it
storage.py        results as JSON
report.py, picture.py, terminal.py    what is said about them, and where
command.py        the plan, and from it tables and files
__main__.py       `python -m benchmarks`

attention_memory.py    apart from all that, and of minattn alone: how the memory of self-attention grows
"""
