"""The table of options: the record, the page and the command that runs a failure again say what it says."""

import json
import shlex
import subprocess
import sys
from dataclasses import asdict, fields

import pytest

from fcos_lib.cli.main import build_parser
from fcos_lib.options.option import as_text
from fcos_lib.options.table import OPTIONS
from fixtures.options import settings
from fixtures.settings import EMBEDDED_CHECKPOINT, Settings
from tests.copies import IMPORTED
from tests.unit.parsed import ROOT, parsed
from tools.make_options_page import PAGE, text

COMMANDS = [
    [
        "--npu", "emulated", "--device-id", "3,1", "--dataset", "/data/it's coco", "--contract", "shapes", "--category", "red square=a, 'b'",
        "--category", "blue disc=$HOME=~x", "--checkpoint", "/data/a b.pth", "--pictures", "7",
        "--reference", "--onnx", "/x/-y.onnx", "--aipp", "--batch-sizes", "8,2", "--precision-mode", "force_fp32",
        "--op-select-implmode", "high_precision", "--atc-option=--log=info", "--atc-option=--a b=$(c)", "--atc-time-limit", "5",
        "--baseline", "/x/accepted.json", "--require-baseline", "--no-explain", "--require", "contract,cost",
        "--run-time-limit", "77", "--cluster", "10.0.0.1:6379", "--cluster-mixed", "--fresh", "--references", "/x/references",
    ],
    ["--build-only", "--soc-version", "Ascend310P1", "--dynamic-batch", "--npu", "emulated"],
    ["--golden-only", "--precision-mode", "", "--dataset", "/data/coco", "--checkpoint", str(EMBEDDED_CHECKPOINT)],
    ["--om", "/x/oms", "--dataset", "fixtures/shapes", "--artifacts", "/x/my $$store's 产物"],
    ["--contract", "shapes_gn", "--pictures", "7"],
    ["--checkpoint", str(EMBEDDED_CHECKPOINT), "--contract", "shapes_gn"],
]  # fmt: skip
"""Every option at another value than its default, at least once; those that exclude each other in different lines."""

RECORD = """
import pathlib, shlex

folder = pathlib.Path(sys.argv[1])

class Recorder:
    def __init__(self, path):
        self.path = path

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config):
        from fcos_lib.options.table import OPTIONS
        from fixtures.options import settings
        chosen = settings(config)
        repeated = {key: repr(getattr(chosen, option.key)) for key, option in OPTIONS.items() if option.repeated}
        self.path.write_text(json.dumps([chosen.as_options(), repeated]))

def collect(words, path):
    child = os.fork()
    if not child:
        os.dup2(os.open(path.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT), 1), os.dup2(1, 2)
        sys.argv[1:] = [*words, "tests/acceptance", "-m", "contract", "--collect-only", "-q", "-p", "no:cacheprovider", "--assert=plain"]
        status = pytest.main(sys.argv[1:], plugins=[Recorder(path)])
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status in (0, 5, 7):  # collected, or nothing was left to be collected, or --require asks for gates
        return json.loads(path.read_text())
    sys.exit(path.with_suffix(".txt").read_text())

answers = []
for number, words in enumerate(json.load(sys.stdin)):
    first = collect(words, folder / f"first{number}")
    answers.append([first, collect(shlex.split(first[0]), folder / f"again{number}")])
print(json.dumps(answers))
"""
"""Collects with each list of options, and again with the options that the first run recorded, in copies of one process."""


def test_settings_have_a_field_for_each_option():
    """In the table's order, so that both are read side by side."""
    assert [field.name for field in fields(Settings)] == [option.key for option in OPTIONS.values()]


def test_the_page_is_written_from_the_table():
    """docs/options.md is written by tools/make_options_page.py."""
    assert PAGE.read_text(encoding="utf-8") == text(), "run tools/make_options_page.py"


def test_every_verb_that_the_table_names_takes_the_option():
    """The actions of `history` as well; another name would be an option that nobody can give."""
    parser = build_parser()
    (verbs,) = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    (actions,) = [action.choices for action in verbs["history"]._actions if isinstance(action.choices, dict)]
    parsers = verbs | {f"history {name}": action for name, action in actions.items()}
    for option in OPTIONS.values():
        for verb in option.verbs:
            assert option.name in parsers[verb]._option_string_actions, f"{verb} does not take {option.name}"


def test_a_default_is_what_its_text_means():
    """What help and page show as the default, typed, is the default."""
    for option in OPTIONS.values():
        if option.convert and not option.default_words and option.default_text:
            assert option.convert(as_text(option.default)) == option.default


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_the_recorded_options_are_those_that_differ(words):
    """As parsed by argparse: what is repeated comes back, what is not is at its default."""
    before = settings(parsed(words))
    after = settings(parsed(shlex.split(before.as_options())))
    for option in OPTIONS.values():
        expected = before if option.repeated else settings(parsed([]))
        assert getattr(after, option.key) == getattr(expected, option.key), option.name
    kept = {option.key for option in OPTIONS.values() if not option.repeated}
    assert kept == {"fresh", "require"}


def test_every_option_is_among_the_commands():
    """A new one has to be added above."""
    plain = asdict(settings(parsed([])))
    chosen = [asdict(settings(parsed(words))) for words in COMMANDS]
    assert [name for name in plain if all(settings[name] == plain[name] for settings in chosen)] == []


def test_pytest_builds_the_same_settings_from_a_recorded_command(tmp_path, outer_environment):
    """For every option set, through pytest itself and a shell's quotes."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED + RECORD, str(tmp_path)], input=json.dumps(COMMANDS), cwd=ROOT, capture_output=True, text=True,
        timeout=240, env={**outer_environment, "OPENBLAS_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for (options, first), (_, again) in json.loads(done.stdout):
        assert again == first, options
