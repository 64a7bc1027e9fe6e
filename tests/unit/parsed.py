"""The suite's own options without a run: words as typed, and as much of pytest's configuration as they need."""

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures import options

ROOT = Path(__file__).parents[2]


class _Group:
    """Takes pytest's options for argparse's."""

    def __init__(self, parser):
        self.addoption = parser.add_argument
        self.getgroup = lambda *_: self


def parsed(words, rootpath=ROOT, args=("tests",)):
    """A configuration as pytest's, of these words; pytest's cache is off."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    options.pytest_addoption(_Group(parser))
    parser.add_argument("--benchmark-storage", default="file://./.benchmarks")
    parser.add_argument("--junit-xml", dest="xmlpath", default=None)
    parser.add_argument("--collect-only", dest="collectonly", action="store_true")
    found = parser.parse_args(list(map(str, words)))

    def getoption(name, default=None):
        return getattr(found, name.removeprefix("--").replace("-", "_"), default)

    return SimpleNamespace(
        rootpath=rootpath,
        option=found,
        stash=pytest.Stash(),
        args=[str(arg) for arg in args],
        getoption=getoption,
        pluginmanager=SimpleNamespace(hasplugin=lambda _: False),
        invocation_params=SimpleNamespace(dir=rootpath, args=tuple(words)),
    )
