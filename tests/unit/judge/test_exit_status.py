"""The exit status of a run is 0 only if everything was judged and is green, and an error is the machine's or the model's."""

import errno

import pytest

from fcos_lib.errors import (
    AtcError,
    CheckpointError,
    DatasetError,
    DeviceError,
    FeedError,
    NotInstalledError,
    SessionError,
    StoreError,
)
from fcos_lib.judge.exit_status import counted, exit_status, outcome_of
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import Outcome, decide
from fcos_lib.measure import Measurement

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
        ([PASS], 0, {"unanswered": 1}, 7),
        ([PASS, FAIL], 1, {"unanswered": 1}, 1),
        ([PASS, INFRA], 1, {"unanswered": 1}, 8),
        ([], 5, {"unanswered": 1}, 7),
        ([], 4, {"unanswered": 1}, 4),
        ([PASS], 1, {"other_failures": 1}, 1),
        ([INFRA], 1, {"other_failures": 1}, 1),
        ([PASS], 2, {}, 2),
        ([], 5, {}, 5),
    ],
)
def test_the_status_of_a_run(outcomes, pytest_status, more, expected):
    """FAIL before INFRA before NO VERDICT, and nothing measured is never 0."""
    given = {"not_run": 0, "unanswered": 0, "other_failures": 0, "npu_required": False} | more
    assert exit_status(pytest_status, outcomes, **given) == expected


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DeviceError("x"), INFRA),
        (AtcError("x"), INFRA),
        (StoreError("x"), INFRA),
        (FeedError("x"), INFRA),
        (NotInstalledError("x"), INFRA),
        (MemoryError(), INFRA),
        (OSError(errno.ENOSPC, "x"), INFRA),
        (OSError(errno.ENOENT, "x"), FAIL),
        (SessionError("x"), FAIL),
        (CheckpointError("x"), FAIL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_the_machines_or_the_models(error, outcome):
    """The device, the compiler, the disk, the feed and a missing package are the machine; a wrong tensor is the model."""
    assert outcome_of(error) is outcome


OUT_OF_MEMORY = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. Name:'/x' Status Message: "
    "bfc_arena.cc:360 AllocateRawInternal Failed to allocate memory for requested buffer of size 112197632",
    "PosixThread pthread_create failed, error code: 12 error msg: Cannot allocate memory",
    "OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 48000000 bytes",
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 1",
    "can't start new thread",
    "std::bad_alloc",
)
"""As onnxruntime, OpenCV, torch, Python and pybind11 say it under a limit on memory or processes."""


@pytest.mark.parametrize("said", OUT_OF_MEMORY, ids=lambda said: said.rpartition(":")[2][:20])
def test_what_libraries_say_of_a_machine_that_has_no_more_is_infra(said):
    """They raise it as RuntimeError or as a class of their own, which says nothing."""
    assert outcome_of(RuntimeError(said)) is INFRA
    assert outcome_of(RuntimeError("Got invalid dimensions for input: input")) is FAIL
    assert outcome_of(CheckpointError(f"the checkpoint {said}.pth is damaged")) is FAIL, "names of files say nothing"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EAGAIN, errno.ENOSPC])
def test_an_error_that_the_machine_led_to_is_the_machines(number):
    """A disk that fails, a network folder that went away, no more processes: whatever was made of it."""
    for kind in (SessionError, DatasetError, CheckpointError):
        error = kind("it cannot be read")
        error.__cause__ = OSError(number, "x")
        assert outcome_of(error) is INFRA
    error = DatasetError("it cannot be read")
    error.__cause__ = OSError(errno.ENOENT, "x")
    assert outcome_of(error) is FAIL


def test_an_error_that_was_raised_from_itself_ends_the_search():
    """A chain of causes may lead back: whoever looks along it for a machine's error would look for ever."""
    first, second = ValueError("x"), ValueError("y")
    first.__cause__, second.__cause__ = second, first
    assert outcome_of(first) is Outcome.FAIL


def test_what_a_test_only_records_beside_its_limits_does_not_count():
    """A number without a limit is NO VERDICT and would turn the run to 7; where it is all that a test has, it does."""
    number = Measurement("rate", 58.0, "images/s", 20)
    bound = Limit("throughput.x", 55.0, True, "images/s", "a paper")
    judged = decide("throughput", "batch8", number, bound, stand_in=False)
    recorded = decide("throughput", "batch8", number, None, stand_in=False)
    assert counted(iter([("a", judged), ("a", recorded)])) == [PASS], "recorded beside a limit of the same test"
    assert counted(iter([("a", judged), ("b", recorded)])) == [PASS, NONE], "another test's limit is none of its own"
    assert counted(iter([("a", recorded), ("a", recorded)])) == [NONE, NONE]
    lacking = decide("throughput", "batch8", number, None, stand_in=False, lacks="throughput.y")
    assert counted(iter([("a", judged), ("a", lacking)])) == [PASS, NONE], "a limit that is missing is nothing recorded"
    assert counted(iter([])) == []
