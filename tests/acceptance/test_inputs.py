"""Promise: what the network sees in a picture is what the recipe shows it, and boxes come back to where they were."""

import pytest

from fcos_lib.measure.detections.inputs import network_inputs
from fcos_lib.stream.feed import Feed

pytestmark = pytest.mark.contract

SIZE = 5  # does not divide the sample, so that the last batch is not full


def test_the_network_gets_what_the_recipe_gives_it(sample_pictures, contract, layout, judge):
    """The sample through the feed of every evaluation, against plain arithmetic: reference and candidate share the former."""
    groups = [sample_pictures[start : start + SIZE] for start in range(0, len(sample_pictures), SIZE)]
    with Feed(groups, contract, SIZE, layout) as feed:
        measured = network_inputs(feed, contract, layout)
    came = measured[0].n
    assert came == len(sample_pictures), (
        f"the feed ended after {came} of the {len(sample_pictures)} pictures of the sample"
    )
    judge("inputs", *measured, stand_in=False)
