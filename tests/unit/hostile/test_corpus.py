"""Everything that fuzzing started from or found goes through its parser, which raises what it promises and nothing else."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path.relative_to(CORPUS) for path in CORPUS.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def fuzz():
    """`tools/fuzz.py` as a module; it needs no fuzzer to be one."""
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "tools" / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_kept_input_breaks_nothing(fuzz, file):
    """A target raises only what breaks a promise."""
    fuzz.TARGETS[file.parts[0]]((CORPUS / file).read_bytes())


def test_every_target_has_a_corpus(fuzz):
    """A parser without one would be fuzzed from nothing, and its finds kept nowhere."""
    assert set(fuzz.TARGETS) == {path.name for path in CORPUS.iterdir()}
