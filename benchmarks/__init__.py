"""The benchmark: minattn and other engines do the same work, each in a process and an environment of its own.

Run it from the root of a clone: `python -m benchmarks W1 W2 --against torch,jax`; `--against ../before` times another
clone of minattn in the same rounds, as that of the commit before a change.

workloads/         what is measured, one file a workload: its inputs, and its step in each engine
engines/           how each engine trains, differentiates and is called
workload.py, inputs.py    what the workloads have in common
worker.py          runs one workload of one engine in that engine's environment

environments.py    where each engine's interpreter is, and how its environment is made
processes.py       the processes that are timed, and what else the machine does meanwhile
harness.py         the engines in turns, round by round
results.py         the arithmetic on what was measured, and its JSON
report.py, figure.py, terminal.py    the page docs/performance.md, its figure, and the terminal
__main__.py        the command

attention_memory.py    apart from all that, and of minattn alone: how the memory of self-attention grows
"""
