"""Promise: what the reference finds is there before an NPU has to wait for it."""

import pytest

from fcos_lib.judge.limits import find_limit
from fcos_lib.measure import Measurement

pytestmark = pytest.mark.golden


def test_the_reference_has_seen_the_pictures(references, reference_found, reference_sample, paired_pictures, judge):
    """Every picture that both sides are to see, computed once or found from an earlier run."""
    missing = [picture.path.name for picture in paired_pictures if picture.id not in reference_found()]
    judge(
        "contract",
        "reference",
        (
            Measurement(
                "pictures without a reference",
                float(len(missing)),
                "pictures",
                len(paired_pictures),
                ", ".join(missing[:3]),
            ),
            find_limit("contract", "without_reference"),
        ),
        stand_in=False,
    )
