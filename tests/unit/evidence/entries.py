"""Verdicts as a run writes them down, for the tests of all that reads them."""

from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement

LIMIT = Limit("accuracy.x", 0.359, True, "AP", "a paper")


def verdict(
    value, subject="batch8", name="mAP", *, limit=LIMIT, stand_in=False, where="", interval=None, promise="accuracy"
):
    """An entry of `verdicts` of results.json."""
    measurement = Measurement(name, value, "AP", 5000, where, interval=interval)
    entry = decide(promise, subject, measurement, limit, stand_in=stand_in).as_dict()
    return {"test": f"tests/acceptance/test_{promise}.py::test_limit[{subject}]", **entry}
