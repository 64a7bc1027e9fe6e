"""`python -m fcos_lib` ends with a status that scripts can rely on, and with sentences instead of tracebacks."""

import subprocess
import sys

import pytest

from fcos_lib.cli.main import main
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import Outcome, decide
from fcos_lib.measure import Measurement
from fixtures.run import Run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["info", "--data", "x", "--output", "y"], "--dataset"),
        (["bench", "--om", "x", "--batch-size", "0"], "'0' is not a number from 1 to 1024"),
        (["doctor", "--device-id", "-1"], "--device-id"),
        (["infer", "--om", "x", "--input", "y", "--output-dirname", "../up"], "'../up' is not a plain folder name"),
        (["infer", "--om", "x", "--input", "y", "--output-dirname", ".."], "'..' is not a plain folder name"),
        (["export", "--checkpoint", "x", "--output", "y"], "one of the arguments --dataset --contract is required"),
    ],
    ids=lambda value: "_".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_options_that_make_no_sense_are_exit_2(capsys, arguments, words):
    """Said by argparse, before anything is read."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_the_module_can_be_run():
    """`python -m fcos_lib` lists the verbs without importing what they need."""
    code = "import runpy, sys; sys.argv = ['fcos_lib', '--help']\n" \
        "try: runpy.run_module('fcos_lib', run_name='__main__')\n" \
        "finally: print(sorted({'numpy', 'onnx', 'cv2', 'torch'} & sys.modules.keys()))"  # fmt: skip
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    for verb in ("preprocess", "info", "export", "compile", "infer", "evaluate", "bench", "doctor"):
        assert f"\n  {verb} " in result.stdout
    assert result.stdout.endswith("[]\n")


@pytest.mark.parametrize("closed", [("stdout",), ("stdout", "stderr")])
@pytest.mark.parametrize(
    ("arguments", "status"), [(["limits"], 0), (["verify", "nowhere"], 3), (["diff", "a", "b"], 3)]
)
def test_a_closed_stream_changes_no_status(monkeypatch, closed, arguments, status):
    """Python has None for it, as in a daemon; an error without a place to be said must not become another status."""
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert main(arguments) == status


def test_a_limit_that_is_missing_counts_beside_limits_that_are_there():
    """It is nothing that a test only records: a model of one's own gets its limits bit by bit."""
    number = Measurement("cosine of boxes", 1.0, "cosine", 20)
    bound = Limit("proposals.mine.x", 0.9, True, "cosine", "a paper")
    pairs = [
        decide("consistency", "batch1", number, bound, stand_in=True),
        decide("consistency", "batch1", number, None, stand_in=True),
        decide("consistency", "batch1", number, None, stand_in=True, lacks="proposals.mine.y"),
    ]
    run = Run(verdicts=[{"test": "x", **verdict.as_dict()} for verdict in pairs])
    assert run.outcomes == [Outcome.STAND_IN, Outcome.NO_VERDICT], f"a run came to {run.outcomes}"
