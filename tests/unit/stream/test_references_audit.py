"""The audit lets pass what another CPU may change, and nothing else."""

import numpy as np
import pytest

from fcos_lib.stream.reference_record import Record, cpu_name, difference
from fcos_lib.stream.sessions import Detections

random = np.random.default_rng(5)
BOXES = random.uniform(0, 400, (20, 4)).astype(np.float32)
SCORES = np.sort(random.uniform(0.06, 1, 20))[::-1].astype(np.float32)
LABELS = random.integers(0, 8, 20)
PROPOSALS = random.uniform(0, 400, (300, 4)).astype(np.float32), random.random((300, 8), np.float32)


def record(boxes=BOXES, scores=SCORES, labels=LABELS, proposals=None, cpu="here"):
    """What one CPU makes of the picture."""
    return Record((40, 30), Detections(boxes, scores, labels), proposals, cpu)


def test_what_other_kernels_change_passes():
    """Four times the box and twice the score difference seen between onnxruntime's blocked and plain convolution."""
    moved = record(BOXES + np.float32(2e-3), SCORES - np.float32(1e-5), cpu="there")
    assert difference(record(), moved) == ""


def test_the_order_of_equal_scores_is_no_difference():
    """Rows may change places, of detections and of proposals."""
    order, rows = random.permutation(20), random.permutation(300)
    other = record(BOXES[order], SCORES[order], LABELS[order], tuple(array[rows] for array in PROPOSALS))
    assert difference(record(proposals=PROPOSALS), other) == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"boxes": BOXES + np.float32(0.05)},
        {"scores": SCORES - np.float32(1e-4)},
        {"labels": (LABELS + 1) % 8},
        {"boxes": BOXES[:10], "scores": SCORES[:10], "labels": LABELS[:10]},
        {"boxes": BOXES[:0], "scores": SCORES[:0], "labels": LABELS[:0]},
    ],
    ids=["boxes", "scores", "labels", "half lost", "all lost"],
)
@pytest.mark.parametrize("cpu", ["here", "there"])
def test_what_a_stale_record_shows_does_not_pass(changed, cpu):
    """Not even between CPUs: a twentieth of a pixel, a ten-thousandth of a score, another label, lost detections."""
    assert "stored detections are not among those computed now" in difference(record(cpu=cpu), record(**changed))


def test_two_strays_pass_between_cpus_and_none_on_one():
    """A score at its threshold may fall on either side of it elsewhere; the same CPU repeats itself."""
    fewer = {"boxes": BOXES[:18], "scores": SCORES[:18], "labels": LABELS[:18]}
    assert difference(record(), record(**fewer, cpu="there")) == ""
    assert difference(record(), record(**fewer)).startswith("2 of 20 stored detections")
    fewer = {name: array[:17] for name, array in fewer.items()}
    assert difference(record(), record(**fewer, cpu="there")).startswith("3 of 20 stored detections")


def test_repeated_rows_do_not_pass():
    """Each has its partner, but there are twice as many."""
    twice = record(*(np.repeat(array, 2, axis=0) for array in (BOXES, SCORES, LABELS)))
    assert difference(record(cpu="there"), twice)


def test_proposals_are_compared_when_both_have_them():
    """A third of the rows moved is a difference; a record without proposals has nothing to compare."""
    boxes, scores = PROPOSALS
    moved = boxes + np.float32(0.1) * (np.arange(300) % 3 == 0)[:, None].astype(np.float32)
    other = record(proposals=(moved, scores), cpu="there")
    assert difference(record(proposals=PROPOSALS), other).startswith("100 of 300 stored proposals")
    assert difference(record(), other) == ""


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("model name\t: AMD EPYC 9554\nflags\t\t: fpu avx avx2 avx512f\n", "AMD EPYC 9554 (avx512f avx2 avx)"),
        ("model name\t: Intel Xeon E5\nflags\t\t: fpu sse2\n", "Intel Xeon E5 ()"),
    ],
)
def test_a_cpu_is_told_by_model_and_vector_instructions(tmp_path, cpuinfo, name):
    """Virtual machines hide the generation behind one model name, and the instructions decide the numbers."""
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert cpu_name(tmp_path / "cpuinfo") == name


def test_without_cpuinfo_the_architecture_has_to_do(tmp_path):
    """As on macOS."""
    assert cpu_name(tmp_path / "nothing").endswith(" ()")
