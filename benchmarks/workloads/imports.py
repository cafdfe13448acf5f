"""W9: starting a process and importing the library; the harness does it without a worker."""

from benchmarks.workload import Workload

WORKLOADS = [Workload("W9", "import", "a new process that imports the library and ends", {})]
