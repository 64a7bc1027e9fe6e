"""Wherever a run is killed, nothing half-written, held or alive is left, and the next run comes to the same numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_kills_at_random_moments_leave_nothing(outer_environment, prepared):
    """The short version of `python -m benchmarks.kills`; test_resume kills evaluations, and more often."""
    phases = [argument for phase in ("build", "throughput", "report") for argument in ("--phase", phase)]
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "10", "--seed", str(os.getpid()), *phases]
    command += ["--begin", str(prepared)]
    done = subprocess.run(
        command, cwd=ROOT, env=outer_environment, capture_output=True, text=True, timeout=900, check=False
    )
    said = f"{' '.join(command[1:])}\n{done.stdout}{done.stderr}"
    assert done.returncode == 0, said
    assert "bit for bit" in done.stdout, said
