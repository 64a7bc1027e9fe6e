"""The figures that were published for the 310P3 are gates there, in both directions, and nowhere else."""

import pytest

from fcos_lib.contract import COCO_R50
from fcos_lib.judge.limits import find_limit, published_rate
from fcos_lib.judge.verdict import Outcome, decide
from fcos_lib.measure.throughput.rates import images_per_second

PUBLISHED = {1: 58, 4: 65, 8: 58, 16: 58, 32: 58, 64: 45}


@pytest.mark.parametrize(("batch", "rate"), PUBLISHED.items())
@pytest.mark.parametrize(
    ("factor", "outcomes"),
    [
        (1.0, (Outcome.PASS, Outcome.PASS)),
        (0.96, (Outcome.PASS, Outcome.PASS)),
        (0.94, (Outcome.FAIL, Outcome.PASS)),
        (1.24, (Outcome.PASS, Outcome.PASS)),
        (1.27, (Outcome.PASS, Outcome.FAIL)),
    ],
)
def test_each_batch_size_is_held_to_its_own_figure(batch, rate, factor, outcomes):
    """5 % less is allowed; a quarter more is not believed."""
    measured = images_per_second(batch, [1000 * batch / (rate * factor)] * 20)
    limits = [
        find_limit("throughput", COCO_R50.name, "Ascend310P3", f"batch{batch}", end) for end in ("slower", "faster")
    ]
    judged = tuple(decide("throughput", "x", measured, limit, stand_in=False).outcome for limit in limits)
    assert judged == outcomes
    assert published_rate(COCO_R50.name, "Ascend310P3", batch) == rate


@pytest.mark.parametrize("chip", ["Ascend910B4", "Ascend310", "Ascend310P1"])
def test_other_chips_have_no_published_figure(chip):
    """A figure of another chip says nothing."""
    assert find_limit("throughput", COCO_R50.name, chip, "batch1", "slower") is None
    assert published_rate(COCO_R50.name, chip, 1) is None


def test_a_batch_size_of_the_formula_that_was_not_run_is_seen():
    """1000 x 4 / the time of one picture is four times too fast, and flagged as such."""
    measured = images_per_second(4, [1000 / 58] * 20)
    limit = find_limit("throughput", COCO_R50.name, "Ascend310P3", "batch4", "faster")
    assert decide("throughput", "batch4", measured, limit, stand_in=False).outcome is Outcome.FAIL
