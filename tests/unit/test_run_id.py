"""A run has a name that no other run has and that all of its workers know: what it finished counts for itself alone."""

from types import SimpleNamespace

import pytest

from fixtures import evaluations


def configured(**workerinput):
    """The configuration of a process, and the name that its run has there."""
    config = SimpleNamespace(stash=pytest.Stash())
    if workerinput:
        config.workerinput = workerinput
    evaluations.pytest_configure(config)
    return config, config.stash[evaluations._RUN_ID]


def test_a_repeated_id_of_xdist_is_another_run(monkeypatch):
    """`--testrunuid` may be repeated, and its variable may be left in an environment."""
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "the same")
    names = [configured()[1] for _ in range(2)]
    assert len({*names, "the same"}) == 3, f"{names}: two runs take each other's results"


def test_workers_have_the_name_of_their_run(monkeypatch):
    """Those that come late as well, such as one that replaces a dead one."""
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "the same")
    controller, name = configured()
    for _ in range(2):
        node = SimpleNamespace(config=controller, workerinput={"testrunuid": "the same"})
        evaluations.pytest_configure_node(node)
        assert configured(**node.workerinput)[1] == name
