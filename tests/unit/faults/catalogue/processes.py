"""Faults of processes: somebody ends ours, or one of ours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.unit.faults.fault import Fault
from tests.unit.faults.stage import ACCURACY, SLOW, Running, Said, Stage


def _evaluating(stage: Stage, *options: str) -> Running:
    """A run that has some of its pictures in the journal."""
    run = stage.start(*ACCURACY, *options, scenario=SLOW)
    run.until(lambda: any(stage.journals.glob("shapes-batch2-*/shard*")))
    return run


def _ended_by(*signals: int) -> Callable[[Stage], Said]:
    def play(stage: Stage) -> Said:
        run = _evaluating(stage)
        for number in signals:
            os.killpg(run.pid, number)
            time.sleep(0.1)
        return run.ended()

    return play


def _controller_killed(stage: Stage) -> Said:
    run = _evaluating(stage)
    run.kill()
    return run.ended()


def _xdist_controller_killed(stage: Stage) -> Said:
    run = _evaluating(stage, "-n", "2")
    run.kill()
    return run.ended()


def _worker_killed(stage: Stage) -> Said:
    run = _evaluating(stage, "-n", "2")
    os.kill(run.until(stage.holder), signal.SIGKILL)
    return run.ended()


def _decoder_killed(stage: Stage) -> Said:
    run = _evaluating(stage)
    os.kill(run.until(lambda: stage.process("stream.decoder")), signal.SIGKILL)
    return run.ended()


FAULTS = (
    Fault("controller_killed", "kill -9 of the run while it evaluates", -9, (), _controller_killed, again="equal"),
    Fault("xdist_controller_killed", "kill -9 of the run under `-n 2`", -9, (), _xdist_controller_killed, again="equal"),
    Fault("worker_killed", "kill -9 of the worker of `-n 2` that holds the device", 8,
          ("crashed while running", "killed, or broken off inside a native library"), _worker_killed, again="equal"),
    Fault("decoder_killed", "kill -9 of a process that decodes pictures", 8,
          ("a process that decodes pictures was killed by SIGKILL",), _decoder_killed, again="equal"),
    Fault("terminated", "a CI job is cancelled (SIGTERM to all)", -15, (), _ended_by(signal.SIGTERM), again="equal"),
    Fault("interrupted", "Ctrl-C", 2, ("KeyboardInterrupt",), _ended_by(signal.SIGINT), again="equal"),
    Fault("interrupted_twice", "Ctrl-C, and at once another", 2, ("KeyboardInterrupt",),
          _ended_by(signal.SIGINT, signal.SIGINT), also=-signal.SIGINT, again="equal"),
    Fault("hung_up", "the terminal goes away (SIGHUP to all)", -1, (), _ended_by(signal.SIGHUP), again="equal"),
)  # fmt: skip
