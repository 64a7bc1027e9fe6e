"""The second embedded model: a checkpoint with the zoo's other switches, trained, from its weights to its verdicts.

GroupNorm in the head, normed distances, centerness beside them, RGB with a deviation, a backbone of PyTorch's style. What the
slim networks of the zoo show with random weights is here to be seen in numbers that mean something.
"""

import json

import pytest

from fcos_lib.contract import SHAPES, SHAPES_GN
from fcos_lib.judge.limits import find_limit
from fixtures.settings import EMBEDDED_CHECKPOINT, EMBEDDED_CHECKPOINTS

PROMISES = "contract or consistency or accuracy"
MIB = 2**20


def judged(tmp_path):
    """The measurements of the run's results.json by gate and subject, and their outcomes."""
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    measured = {
        (each["measurement"]["gate"], each["subject"]): each["measurement"]["value"] for each in document["verdicts"]
    }
    return measured, {each["outcome"] for each in document["verdicts"]}


def test_the_file_is_small():
    """Three megabytes are what a checkout carries for it."""
    size = EMBEDDED_CHECKPOINTS[SHAPES_GN.name].stat().st_size
    assert size <= 3e6, f"the second checkpoint has {size:,} bytes, 3,000,000 at most"


@pytest.mark.parametrize("aipp", [False, True], ids=["float32", "aipp"])
def test_it_keeps_its_promises(run, tmp_path, aipp):
    """Its own checkpoint is taken, and every gate has a limit: with AIPP the device divides and exchanges the channels."""
    options = ["--aipp"] if aipp else []
    result = run("--contract", "shapes_gn", "--npu=emulated", "--batch-sizes=8", "-m", PROMISES, *options, cold=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "contract shapes_gn, as --contract shapes_gn says" in result.stdout
    measured, outcomes = judged(tmp_path)
    assert outcomes == {"PASS", "STAND-IN"}, f"outcomes are {outcomes}"
    ours = measured["accuracy.reference_mAP", "reference"]
    recorded = find_limit("accuracy", SHAPES_GN.name, "mAP").bound / 0.99
    assert ours == pytest.approx(recorded, abs=1e-3), f"the reference has mAP {ours:.4f}, recorded {recorded:.4f}"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([f"--checkpoint={EMBEDDED_CHECKPOINTS[SHAPES_GN.name]}"], "shapes_gn, recognised from the checkpoint"),
        ([f"--checkpoint={EMBEDDED_CHECKPOINT}"], "shapes, that of the dataset's classes"),
        ([], "shapes, that of the dataset's classes"),
        (["--contract=shapes"], "shapes, as --contract shapes says"),
    ],
    ids=["its_weights", "the_defaults_weights", "nothing", "the_default_by_name"],
)
def test_which_of_the_two_a_run_is_about(run, options, name):
    """A run says it before anything is built."""
    result = run("--collect-only", "-m", "contract", "--npu=emulated", *options)
    assert f"fcos: contract {name}" in result.stdout, result.stdout


def test_the_weights_of_one_are_not_the_others(run, tmp_path):
    """Named contract, other checkpoint: refused by its keys."""
    result = run(
        "-m", "contract", "--npu=emulated", "--contract=shapes", f"--checkpoint={EMBEDDED_CHECKPOINTS['shapes_gn']}"
    )
    assert result.returncode != 0, result.stdout
    assert "is not a checkpoint of contract 'shapes'" in result.stdout, result.stdout


def test_they_differ_in_what_the_zoo_differs_in():
    """Each switch that a published FCOS sets and the recipe's does not."""
    assert {
        "style", "std_bgr", "channel_order", "head_norm_groups", "norm_on_bbox", "centerness_on_reg", "iou_threshold",
    } <= set(SHAPES_GN.differences(SHAPES))  # fmt: skip
