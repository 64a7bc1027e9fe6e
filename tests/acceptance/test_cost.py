"""Promise: the OM is no larger, moves no more bytes and needs no more operators than the champion's. Nothing is timed."""

import pytest

from fcos_lib.judge.limits import find_limit
from fcos_lib.measure.cost import COMPARED, against, cost_of_dict

pytestmark = pytest.mark.cost

LIMITS = dict(
    zip(COMPARED, ("om_size", "bytes_per_picture", "om_operators", "casts", "transdata", "ai_cpu"), strict=True)
)


def test_the_om_costs_no_more_than_the_champion(om_model, om_cost, champion, contract, subject, device, judge):
    """Counted from the OM's file and atc's reports, so the same on every machine; without a champion only recorded."""
    compared = []
    if champion and champion.facts.get("cost"):
        for one in against(om_cost, cost_of_dict(champion.facts["cost"])):
            compared.append((one, find_limit("cost", LIMITS[one.name.removesuffix(" against champion")])))
    judge("cost", subject, *compared, (om_cost.recorded(), None), stand_in=device.stand_in)
