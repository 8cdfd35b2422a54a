#!/bin/sh
# PyTorch on a CPU: one other busy process makes a step cost several times the processor time.
#
# Versions: torch 2.15.0 (its wheel brings GNU's OpenMP), numpy 2.4.6.
# Guess before looking: with as many threads as cores and one neighbour, a step takes up to twice as
#   long, as half of one core is gone, and about the same processor time.
# Seen: 3 to 15 times the processor time of one thread for the same step. Threads wait for each other
#   spinning; where one of them has to share its core, the others burn theirs until it is back.
#   OMP_WAIT_POLICY=PASSIVE with GOMP_SPINCOUNT=0, set before torch is loaded, gives about 1.5 times.
# Who is hurt: whoever runs an API and a trainer on one machine.
#
# Ends with another status than 0 when that changes. Wants two cores or more.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.15.0" "numpy==2.4.6"
cd "$folder"
cat > step.py <<'PYTHON'
import time

import torch

images = torch.randn(64, 3, 32, 32)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 64, 4, 4), torch.nn.Flatten(), torch.nn.Linear(4096, 256),
    torch.nn.GELU(), torch.nn.Linear(256, 256))


def step():
    model.zero_grad()
    model(images).square().mean().backward()


for _ in range(20):
    step()
began = time.process_time()
for _ in range(100):
    step()
print((time.process_time() - began) / 100)
PYTHON
cat > all.py <<'PYTHON'
import os
import statistics
import subprocess
import sys

cores = len(os.sched_getaffinity(0))
plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
ways = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "as it comes": {"OMP_NUM_THREADS": str(cores)},
    "passive": {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
}
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
try:
    found = {name: [] for name in ways}
    for _ in range(3):
        for name, more in ways.items():
            done = subprocess.run([sys.executable, "step.py"], env=plain | more,
                                  capture_output=True, text=True, check=True)
            found[name].append(float(done.stdout))
finally:
    busy.kill()
times = {name: statistics.median(each) for name, each in found.items()}
for name, seconds in times.items():
    print(f"{name:12} {1000 * seconds:6.1f} ms of processor time a step")
assert times["as it comes"] > 2 * times["passive"]
PYTHON
"$folder/venv/bin/python" all.py
echo "as described"
