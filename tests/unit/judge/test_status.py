"""The exit status tells success, failure, no verdict and a broken machine apart."""

import pytest

from fcos_lib.errors import AtcError, CheckpointError, DeviceError, SessionError, StoreError
from fcos_lib.judge.status import exit_status, outcome_of
from fcos_lib.judge.verdict import Outcome

PASS, FAIL, NONE, STAND_IN, INFRA = (
    Outcome.PASS, Outcome.FAIL, Outcome.NO_VERDICT, Outcome.STAND_IN, Outcome.INFRA,
)  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "pytest_status", "more", "expected"),
    [
        ([PASS, PASS], 0, {}, 0),
        ([PASS, STAND_IN], 0, {}, 0),
        ([PASS, STAND_IN], 0, {"npu_required": True}, 7),
        ([PASS, FAIL], 1, {}, 1),
        ([PASS, NONE], 0, {}, 7),
        ([PASS, NONE], 1, {}, 7),
        ([PASS, INFRA], 1, {}, 8),
        ([NONE, INFRA], 1, {}, 8),
        ([FAIL, INFRA, NONE], 1, {}, 1),
        ([], 0, {}, 7),
        ([PASS], 0, {"not_run": 1}, 7),
        ([PASS], 1, {"other_failures": 1}, 1),
        ([INFRA], 1, {"other_failures": 1}, 1),
        ([PASS], 2, {}, 2),
        ([], 5, {}, 5),
    ],
)
def test_the_status_of_a_run(outcomes, pytest_status, more, expected):
    """FAIL before INFRA before NO VERDICT, and nothing measured is never 0."""
    given = {"not_run": 0, "other_failures": 0, "npu_required": False} | more
    assert exit_status(pytest_status, outcomes, **given) == expected


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DeviceError("x"), INFRA),
        (AtcError("x"), INFRA),
        (StoreError("x"), INFRA),
        (SessionError("x"), FAIL),
        (CheckpointError("x"), FAIL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_the_machines_or_the_models(error, outcome):
    """The device, the compiler and the disk are the machine; a wrong tensor is the model."""
    assert outcome_of(error) is outcome
