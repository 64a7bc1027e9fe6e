"""Wiring only: which modules hold the fixtures and hooks."""

import pytest

pytest_plugins = [
    "fixtures.options",
    "fixtures.devices",
    "fixtures.datasets",
    "fixtures.artifacts",
    "fixtures.verdicts",
]
pytest.register_assert_rewrite("fixtures")
