"""Wiring only: which modules hold the fixtures and hooks; pytest rewrites the assertions of plugins named here."""

import sys

import pytest

pytest_plugins = [
    "fixtures.options",
    "fixtures.selection",
    "fixtures.pulse",
    "fixtures.evidence",
    "fixtures.devices",
    "fixtures.datasets",
    "fixtures.artifacts",
    "fixtures.batches",
    "fixtures.clusters",
    "fixtures.evaluations",
    "fixtures.samples",
    "fixtures.throughput",
    "fixtures.timing",
    "fixtures.explained",
    "fixtures.verdicts",
    "fixtures.reports",
    "fixtures.last_lines",
    "fixtures.gateproof",
]

NEEDED = (*pytest_plugins, "fcos-reports", "fcos-evidence")
"""Plugins without which a run could be green with nothing judged."""


def pytest_configure(config):
    """Refuse to run without what judges and reports (exit code 4)."""
    if sys.flags.optimize:
        raise pytest.UsageError("python -O, or PYTHONOPTIMIZE, takes checks out of the code: leave it out")
    for name in NEEDED:
        if config.pluginmanager.is_blocked(name):
            raise pytest.UsageError(
                f"-p no:{name} takes away what judges: leave it out, on the command line and in PYTEST_ADDOPTS"
            )
