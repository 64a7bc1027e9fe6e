"""Every command that the documentation prints works: pytest selects something, verbs run or parse, make targets exist."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fcos_lib.cli.main import VERBS, build_parser, main
from fcos_lib.evidence.results import write_results
from fcos_lib.judge.limits import FILE as LIMITS
from fcos_lib.judge.limits import find_limit
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement
from fcos_lib.sharing.digests import detection_digests
from fcos_lib.stream.dataset import open_dataset, picture_set
from fcos_lib.stream.sessions import Detections
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT
from tests.unit.cli.test_cli import part_of_embedded
from tests.unit.docs.markdown import PAGES, ROOT, Command, blocks, commands, each_page, prose
from tests.unit.measure.result_files import draw
from tests.unit.model.test_config_contract import PLAIN

ALL = [command for page in PAGES for command in commands(page)]

PARSED_ONLY = {"accept", "explain", "bundle", "replay"}
"""Verbs that need a whole run, or minutes: their options are parsed."""
SHELL = {"cp", "export", "eval", "source"}
FOREIGN_OPTIONS = {"--framework", "--model", "--output-file", "--net_out_num", "--batchsize", "--help", "--markers"}
"""Of the recipe's tools and of every program."""


def kind(command):
    """(what it is, its arguments); `unknown` for what nobody has classified."""
    words = command.words()
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program, *rest = words or [""]
    program = program.removeprefix(".venv/bin/")
    if program in ("pytest", "make"):
        return program, rest
    if program == "python" and rest[:2] == ["-m", "fcos_lib"]:
        return "verb", [] if "<verb>" in rest else rest[2:]
    if program == "python" and rest[:1] == ["-m"] and rest[1:2]:
        return "module", rest[1:]
    if program == "python" and rest[:1] and rest[0].endswith(".py"):
        return "script", rest
    if program == "pip" and rest[:1] == ["install"]:
        return "pip", rest[1:]
    return ("shell", words) if program in SHELL else ("unknown", words)


def of_kind(wanted):
    """The commands of one kind, each once."""
    return {command: kind(command)[1] for command in ALL if kind(command)[0] == wanted}


def collectable(arguments):
    """A pytest command line as any machine can collect it: no NPU is required, and the embedded default is the dataset."""
    words, rest = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:unraisableexception"], iter(arguments)
    for word in rest:
        if word in ("--dataset", "--checkpoint", "--contract", "-n"):
            next(rest)
        elif word == "--npu":
            next(rest)
            words += ["--npu", "emulated"]
        elif word not in ("--collect-only", "-q"):
            words.append(word)
    if "-m" in arguments and not any(word.startswith("tests") for word in arguments):
        words.append("tests/gateproof" if "gateproof" in arguments else "tests/acceptance")
    return words


def test_every_command_is_classified():
    """A command that nobody checks may be wrong for years."""
    unknown = [f"{command.page}: {command.text}" for command in ALL if kind(command)[0] == "unknown"]
    assert not unknown, "teach this test what these are:\n" + "\n".join(unknown)
    for program, least in (("pytest", 15), ("verb", 10)):
        count = len(of_kind(program))
        assert count > least, f"{count} commands of the kind '{program}' were seen, more than {least} are on the pages"


def test_pytest_commands_select_something(tmp_path, outer_environment, copies):
    """Options and markers exist, and what they select is not nothing."""
    lines = {}
    for command, arguments in of_kind("pytest").items():
        lines.setdefault(tuple(collectable(arguments)), command)
    jobs = [[*line, f"--artifacts={tmp_path / 'artifacts'}"] for line in lines]
    wrong = []
    environ = outer_environment | {"COLUMNS": "200"}
    for arguments, command, done in zip(jobs, lines.values(), copies.run_all(jobs, environ), strict=True):
        text = done.stdout + done.stderr
        collected = re.search(r"^=* ?(\d+)(?:/\d+)? tests? collected", text, re.M)  # with `-v` it has a rule around it
        informs = {"--help", "--markers"} & set(arguments)
        if done.returncode not in (0, 7) or not (
            informs or collected
        ):  # 7: nothing was judged, and --require asks for it
            wrong.append(f"{command.page}: {command.text}\n    ended with {done.returncode}: {text[-400:]}")
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def checkout(tmp_path, exported, monkeypatch, request):
    """A folder with everything that the pages name where they name it, small: five pictures, ONNX built, one stored run."""
    for name in ("fixtures/shapes", "coco"):
        part_of_embedded(tmp_path / name, 5)
    for name in ("fixtures/shapes/fcos_shapes.pth", "mine.pth", "fcos_r50….pth"):
        shutil.copy(EMBEDDED_CHECKPOINT, tmp_path / name)
    (tmp_path / "fcos_lib").mkdir()
    for name in ("fcos_lib/limits.toml", "my_limits.toml"):
        shutil.copy(LIMITS, tmp_path / name)
    shutil.copytree(exported, tmp_path / ".artifacts")
    drawn = draw(tmp_path / "drawn", seed=4)
    for path, name in ((drawn.b, "A.json"), (drawn.a, "B.json"), (drawn.instances, "instances_val2017.json")):
        shutil.copy(path, tmp_path / name)
    pictures = {"data_set": picture_set(open_dataset(EMBEDDED))}
    measured = Measurement("mAP", 0.67, "AP", 240, details=pictures)
    verdict = decide("accuracy", "batch8", measured, find_limit("accuracy", "shapes", "mAP"), stand_in=True)
    entry = {"test": "tests/acceptance/test_accuracy.py::test_x[batch8]", **verdict.as_dict()}
    onnx = {"kind": "onnx", "key": "k", "files": {"ascend.onnx": "0" * 64}, "provenance": {}, "built": True}
    none = np.zeros(0, np.float32)
    nothing = Detections(none.reshape(0, 4), none, np.zeros(0, np.int64))
    found = detection_digests("batch8", {1231: nothing}, {"1231": "0" * 64})
    for name in (".artifacts/results/results.json", "results.json", "before/results.json", "after/results.json"):
        write_results(
            tmp_path / name,
            environment={},
            artifacts=[onnx],
            verdicts=[entry],
            unjudged=[],
            run={},
            detections=[found],
            pictures={"1231": "0" * 64},
        )
    (tmp_path / "mine.py").write_text(PLAIN, encoding="utf-8")
    if "docs/adding_a_contract.md" in request.node.name:  # a run of a model that has no limits yet
        lacking = decide("accuracy", "batch8", measured, None, stand_in=True, lacks="accuracy.mine.mAP").as_dict()
        write_results(
            tmp_path / ".artifacts/results/results.json", environment={}, artifacts=[],
            verdicts=[{"test": entry["test"], **lacking}], unjudged=[], run={"settings": {"contract": "mine.toml"}},
        )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "aclruntime", raising=False)
    yield tmp_path
    sys.modules.pop("aclruntime", None)  # the emulator's


def verb_pages():
    """Pages by their verbs in order; the Chinese README has the blocks of the English one."""
    pages = {}
    for page in PAGES:
        if page.name != "README.zh-CN.md":
            lines = [arguments for arguments in map(verb_of, commands(page) + spans(page)) if arguments]
            if lines:
                pages[str(page.relative_to(ROOT))] = lines
    return pages


def verb_of(command):
    """The verb and its options, None for another command."""
    what, arguments = kind(command)
    return arguments if what == "verb" else None


def spans(page):
    """Verbs with options in the running text, where `python -m fcos_lib` is understood."""
    verbs = "|".join(name for group in VERBS.values() for name in group)
    texts = re.findall(rf"`((?:{verbs}) [^`]*-[^`]*)`", prose(page.read_text(encoding="utf-8")))
    return [Command(page.name, f"python -m fcos_lib {text}") for text in texts if "…" not in text.split()]


@pytest.mark.parametrize("page", verb_pages())
def test_verbs_run(page, checkout):
    """In the order of the page, on small inputs; none ends with an error, and those that would take long parse."""
    for arguments in verb_pages()[page]:
        line = f"{page}: python -m fcos_lib {' '.join(arguments)}"
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                options = build_parser().parse_args(arguments)
                if options.verb in PARSED_ONLY:
                    continue
                more = ["--npu", "emulated"] if getattr(options, "npu", "") == "auto" else []
                more += ["--jobs", "1"] if hasattr(options, "jobs") else []
                status = main([*arguments, *more])
            except SystemExit as stopped:
                status = stopped.code
        no_limit_yet = page == "docs/adding_a_contract.md" and options.verb == "judge"
        assert status in (0, 1, 8) or (status == 7 and no_limit_yet), (
            f"{line}\n    ended with {status}: {err.getvalue()[-600:]}"
        )
        assert out.getvalue(), f"{line} printed nothing"


def test_make_targets_exist():
    """`make -n` knows them; nothing is made."""
    targets = {tuple(arguments) for arguments in of_kind("make").values()}
    assert ("accept",) in targets
    for arguments in targets:
        done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"make {' '.join(arguments)}: {done.stderr}"


def test_modules_scripts_and_files_exist(checkout):
    """What a page starts, copies or installs is there."""
    for command, (module, *_) in of_kind("module").items():
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"{command.page}: {command.text}"
    for command, (script, *_) in of_kind("script").items():
        assert (ROOT / script).is_file(), f"{command.page}: {command.text}"
    for command, words in of_kind("shell").items():
        if words[0] == "cp":
            assert (ROOT / words[1]).is_file(), f"{command.page}: {command.text}"
    for command, names in of_kind("pip").items():
        wheels = [name for name in names if not name.startswith("aclruntime")]
        assert not wheels, f"{command.page}: {command.text} installs what constraints.txt does not pin"


def test_options_in_the_text_exist():
    """`--pictures N` in a sentence is an option of pytest here or of a verb."""
    text = subprocess.run(
        [sys.executable, "-m", "pytest", "--help", "-p", "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "200"}, check=True,
    ).stdout  # fmt: skip
    known = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) | FOREIGN_OPTIONS
    parsers = [build_parser()]
    while parsers:
        for action in parsers.pop()._actions:
            known.update(action.option_strings)
            parsers += action.choices.values() if isinstance(action.choices, dict) else []
    for page in PAGES:
        for span in re.findall(r"(?<!`)`(-[^`]+)`(?!`)", prose(page.read_text(encoding="utf-8"))):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
                assert option in known, f"{page.name} names {option}, which neither pytest nor a verb has"


@each_page
def test_fenced_blocks_have_a_language(page):
    """All lines of `sh` are commands and are checked; what is none says so with `text`, `toml`, `python` or `yaml`."""
    for language, body in blocks(page.read_text(encoding="utf-8")):
        assert language != "?", f"the block that begins with {body[:40]!r} needs a language"
