"""The interval is that of a bootstrap by pycocotools itself, over the same drawn pictures."""

import contextlib
import copy
import io

import numpy as np
import pytest

from fcos_lib.measure.coco.matching import match_rows
from fcos_lib.measure.coco.metrics import TWELVE
from fcos_lib.measure.coco.paired import WIDENING, difference_of, intervals_of
from fcos_lib.measure.coco.resampled import resample_matches
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.truth import read_annotation_file
from tests.unit.measure.result_files import by_pycocotools, draw

RESAMPLES, SEED, PICTURES = 30, 5, 20


def drawn_by_pycocotools(instances, results, times):
    """Its twelve numbers for each row of `times`, which says how often each picture counts: float64[R, 12]."""
    evaluation = by_pycocotools(instances, results)
    params, images = evaluation.params, evaluation.evalImgs
    count, cells = len(params.imgIds), len(params.catIds) * len(params.areaRng)
    numbers = []
    for row in times:
        pictures = np.repeat(np.arange(count), row).tolist()
        evaluation.evalImgs = [images[cell * count + picture] for cell in range(cells) for picture in pictures]
        evaluation.params = copy.copy(params)
        evaluation.params.imgIds = list(range(len(pictures)))
        evaluation._paramsEval = evaluation.params
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
            evaluation.summarize()
        numbers.append(evaluation.stats)
    return np.where(np.array(numbers) == -1, np.nan, np.array(numbers))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Ours and pycocotools' resampled numbers of two files, and the files' difference."""
    drawn = draw(tmp_path_factory.mktemp("coco") / "small", seed=2, pictures=PICTURES, ties=False)
    truth = read_annotation_file(drawn.instances).truth
    times = np.random.default_rng(SEED).multinomial(PICTURES, np.full(PICTURES, 1 / PICTURES), size=RESAMPLES)
    ours, theirs = [], []
    for path in (drawn.a, drawn.b):
        ours.append(resample_matches(match_rows(truth, read_detections(path, truth)), RESAMPLES, SEED))
        theirs.append(drawn_by_pycocotools(drawn.instances, path, times))
    return ours, theirs, difference_of(*ours, SEED, truth.category_ids)


def test_each_resample_has_pycocotools_numbers(both):
    """All twelve of every drawing of the pictures, of either side."""
    for side, theirs in zip(both[0], both[1], strict=True):
        np.testing.assert_allclose(side.drawn[: len(TWELVE)].T, theirs, rtol=0, atol=1e-12)


def test_the_interval_follows_from_pycocotools_numbers(both):
    """± 1.96 times the widened standard deviation of its differences."""
    _, (first, second), paired = both
    spread = np.nanstd(second - first, axis=0, ddof=1)
    for name, deviation in zip(TWELVE, spread, strict=True):
        interval = paired.numbers[name]
        expected = [max(-1, interval.value - 1.959963984540054 * WIDENING * deviation), min(1, interval.value + 1.959963984540054 * WIDENING * deviation)]  # fmt: skip
        assert [interval.low, interval.high] == pytest.approx(expected, rel=0, abs=1e-12), f"the interval of {name}"
        assert deviation > 1e-4, f"{name} hardly moves ({deviation}), so nothing is compared"


def test_one_side_has_an_interval_of_its_own(both):
    """By the same rule, and never below 0."""
    side, theirs = both[0][0], both[1][0]
    numbers, per_class = intervals_of(side)
    margin = 1.959963984540054 * WIDENING * np.nanstd(theirs, axis=0, ddof=1)
    for name, around in zip(TWELVE, margin, strict=True):
        value = numbers[name].value
        assert numbers[name].low == pytest.approx(max(0, value - around), rel=0, abs=1e-12), f"the interval of {name}"
    assert set(per_class) == {"person", "dog", "car"}, "a toothbrush is in no picture"
