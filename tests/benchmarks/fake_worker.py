"""A worker that does no work: it tells the times and losses that the test wants, or makes the trouble it wants.

The environment variable FAKES is JSON: {engine: {"seconds": [of each round], "losses": [of each step], "trouble": ..}}.
Every turn is noted in the file FAKES_LOG as `engine workload threads process`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

engine, workload, _, threads = sys.argv[1:]
wanted = json.loads(os.environ["FAKES"]).get(engine, {})
seconds, losses, trouble = wanted.get("seconds", [0.001]), wanted.get("losses", [1.0, 0.5]), wanted.get("trouble", "")
WARMING = 2  # orders to run before the first round


def say(answer):
    print(json.dumps(answer), flush=True)


def note():
    with Path(os.environ["FAKES_LOG"]).open("a") as log:
        log.write(f"{engine} {workload} {threads} {os.getpid()}\n")


def make_trouble(turn):
    """What shall go wrong in the first round."""
    if turn != WARMING:
        return
    if trouble == "dies":
        raise ValueError("no such matrix")
    if trouble == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "hangs":
        time.sleep(600)
    if trouble == "talks nonsense":
        print("Segmentation violet", flush=True)
        sys.exit()


if trouble == "cannot":
    say({"cannot": "it has no tanh"})
    sys.exit()
if trouble == "dies at once":
    sys.exit("ImportError: no module named nonsense")
if trouble == "is never ready":
    time.sleep(600)
say({"ready": True, "engine": engine, "version": f"{engine} 1.0", "numpy": "2.0", "python": "3.11"})
turn = 0
for line in sys.stdin:
    order = json.loads(line)
    if "run" in order:
        make_trouble(turn)
        note()
        time_of_a_step = seconds[max(turn - WARMING, 0) % len(seconds)]
        turn += 1
        say({"seconds": [time_of_a_step] * order["run"], "losses": (losses * order["run"])[: order["run"]]})
    elif "memory" in order:
        say({"peak_mib": 50.0})
    else:
        break
