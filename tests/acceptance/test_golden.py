"""Promise: what the reference finds is there before an NPU has to wait for it."""

import pytest

from fcos_lib.measure import Measurement

pytestmark = [pytest.mark.golden, pytest.mark.accuracy]


def test_the_reference_has_seen_the_pictures(references, reference_found, reference_sample, paired_pictures, judge):
    """Every picture that both sides are to see, computed once or found from an earlier run."""
    missing = [picture.path.name for picture in paired_pictures if picture.id not in reference_found()]
    measured = Measurement(
        "pictures without a reference", float(len(missing)), "pictures", len(paired_pictures), ", ".join(missing[:3]),
        gate="contract.without_reference",
    )  # fmt: skip
    judge("reference", measured, stand_in=False)
