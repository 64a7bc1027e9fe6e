"""Many command lines of pytest, each run in a copy of one process: what takes time is importing."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, os, sys
import cv2, numpy, onnx, onnxruntime, pytest, scipy.stats  # imported once for all
jobs, running, statuses = json.load(sys.stdin), {}, {}
for number, (arguments, output) in enumerate(jobs):
    child = os.fork()
    if not child:
        file = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.argv[1:] = arguments
        status = pytest.main(arguments)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    running[child] = number
    while running and (len(running) >= os.cpu_count() or number == len(jobs) - 1):
        child, status = os.wait()
        statuses[running.pop(child)] = os.waitstatus_to_exitcode(status)
print(json.dumps([statuses[number] for number in range(len(jobs))]))
"""


def exit_statuses(jobs, environ):
    """The exit status of each job, which is its arguments and the path of the file that gets what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(jobs, default=str), cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**environ, "OPENBLAS_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)
