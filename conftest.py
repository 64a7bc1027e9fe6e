"""Wiring only: which modules hold the fixtures and hooks; pytest rewrites the assertions of plugins named here."""

pytest_plugins = [
    "fixtures.options",
    "fixtures.evidence",
    "fixtures.devices",
    "fixtures.datasets",
    "fixtures.artifacts",
    "fixtures.evaluations",
    "fixtures.throughput",
    "fixtures.explained",
    "fixtures.verdicts",
    "fixtures.reports",
    "fixtures.gateproof",
]
