"""Promise: the OM is no larger, moves no more bytes and needs no more operators than the champion's. Nothing is timed."""

import pytest

from fcos_lib.judge.roll_call import blocked
from fcos_lib.measure.cost.operators import COMPARED, against, cost_of_dict

pytestmark = pytest.mark.cost


def test_the_om_costs_no_more_than_the_champion(batch, om_cost, champion, judge):
    """Counted from the OM's file and atc's reports, so the same on every machine; without a champion only recorded."""
    compared = []
    if champion and champion.facts.get("cost"):
        compared = against(om_cost, cost_of_dict(champion.facts["cost"]))
    why = (
        "the champion has no such figure" if compared else "no champion was accepted: python -m fcos_lib accept RESULTS"
    )
    judge(
        batch.subject,
        *compared,
        om_cost.recorded(),
        stand_in=batch.device.stand_in,
        absent=dict.fromkeys(COMPARED.values(), blocked(why)),
    )
