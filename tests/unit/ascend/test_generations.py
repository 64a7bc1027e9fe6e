"""What the generations of aclruntime spell differently comes to the same."""

from types import SimpleNamespace

import pytest

from fcos_lib.ascend.generations import choose_batch, forget_run_times, read_run_times


@pytest.mark.parametrize("name", ["sumary", "summary"])
@pytest.mark.parametrize("entry", [2.5, (10.0, 12.5)])
def test_times_are_milliseconds(name, entry):
    """A duration, or start and end, behind either spelling."""
    session = SimpleNamespace(**{name: lambda: SimpleNamespace(exec_time_list=[entry, entry])})
    assert read_run_times(session) == [2.5, 2.5]


@pytest.mark.parametrize("name", ["reset_sumaryinfo", "reset_summaryinfo"])
def test_times_are_forgotten(name):
    """Under either spelling."""
    called = []
    forget_run_times(SimpleNamespace(**{name: lambda: called.append(name)}))
    assert called == [name]


@pytest.mark.parametrize(
    ("first", "setter", "expected"), [(-1, "set_dynamic_batchsize", [(8,)]), (8, "set_staticbatch", [()])]
)
def test_a_profile_is_chosen_where_there_are_some(first, setter, expected):
    """An OM for one batch size has none to choose, and until 2023 nothing to say it with."""
    called = []
    session = SimpleNamespace(
        get_inputs=lambda: [SimpleNamespace(shape=[first, 3, 4, 6])], **{setter: lambda *given: called.append(given)}
    )
    choose_batch(session, 8)
    assert called == expected
    choose_batch(SimpleNamespace(get_inputs=lambda: [SimpleNamespace(shape=[8, 3, 4, 6])]), 8)
