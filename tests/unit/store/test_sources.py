"""What the code contributes to a key: a changed module is noticed by what it can influence, and by nothing else."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.store.sources import PACKAGE, ROOT, dependencies, installed, modules_behind

ALWAYS = ["__init__", "store.__init__", "contract", "errors", "store.sources", "store.artifacts", "files", "records"]
GRAPH = ["artifacts.__init__", "model.__init__", "model.fixed_batch", "model.npu_operators"]
ONNX = [*GRAPH, "model.export", "model.endings", "model.foreign"]
STREAM = [
    "stream.sessions",
    "stream.__init__",
    "stream.dataset",
    "stream.annotations",
    "stream.categories",
    "stream.letterbox",
    "stream.picture_file",
    "stream.picture_folder",
]
KINDS = {
    "ONNX of a checkpoint": (("fcos_lib.artifacts.from_checkpoint",), [
        *ONNX, "artifacts.from_checkpoint", "measure.__init__",
        "measure.proposals.__init__", "measure.detections.__init__", "measure.detections.bands",
        "measure.proposals.comparison", "model.decoding", "model.checkpoint", "model.detector"]),
    "mmdet's detections": (("fcos_lib.artifacts.witness",), [
        *STREAM, "artifacts.__init__", "artifacts.witness", "measure.__init__", "measure.detections.__init__",
        "measure.detections.inputs", "model.__init__", "model.checkpoint", "model.detector", "stream.decoder",
        "stream.decoder_pool", "stream.feed"]),
    "ONNX of an ONNX": (("fcos_lib.artifacts.from_onnx",), [*ONNX, "artifacts.from_onnx", "model.taps"]),
    "OM": (("fcos_lib.artifacts.om",), [
        *GRAPH, "artifacts.om", "ascend.__init__", "ascend.atc_command", "ascend.atc",
        "ascend.atc_errors", "ascend.plain_path", "ascend.process", "ascend.toolkit", "ascend.watchdog"]),
    "references": (("fcos_lib.stream.references",), [
        *STREAM, "stream.array_file", "stream.reference_record", "stream.references"]),
    "journal": (("fcos_lib.stream.evaluation", "fcos_lib.ascend.om_session"), [
        *STREAM, "stream.decoder", "stream.decoder_pool", "stream.evaluation", "stream.feed", "stream.journal",
        "stream.array_file", "stream.journal_shards", "stream.progress", "ascend.__init__", "ascend.acl_errors", "ascend.generations",
        "ascend.plain_path", "ascend.process", "ascend.om_session", "ascend.om_tensors", "ascend.watchdog"]),
    "canary": (("fcos_lib.device.canary",), [
        *STREAM, "device.__init__", "device.canary", "device.npus", "device.lease", "device.lock_file", "stream.decoder", "stream.decoder_pool", "stream.feed", "emulator.__init__",
        "emulator.install", "ascend.__init__", "ascend.acl_errors", "ascend.generations", "ascend.npu_smi", "ascend.npu_tables", "ascend.om_session",
        "ascend.om_tensors", "ascend.plain_path", "ascend.process", "ascend.toolkit", "ascend.watchdog"]),
}  # fmt: skip
"""What is kept between runs: the modules that make it, and those that can change what they make besides `ALWAYS`."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The sources in another place."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / PACKAGE, root / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def keys(root):
    """What the code contributes to the key of each kind."""
    return {kind: dependencies(*makers, root=root) for kind, (makers, _) in KINDS.items()}


def test_a_changed_module_is_noticed_by_exactly_what_it_can_influence(copy):
    """Every module in turn: noise in one that makes something must give that a new key, warm store or not."""
    before = keys(copy)
    assert before == keys(ROOT), "the place of the sources must not count"
    wrong = []
    for path in sorted((copy / PACKAGE).rglob("*.py")):
        module = ".".join(path.relative_to(copy / PACKAGE).with_suffix("").parts)
        text = path.read_bytes()
        path.write_bytes(text + b"\nNOISE = 1\n")
        noticed = {kind for kind, value in keys(copy).items() if value != before[kind]}
        path.write_bytes(text)
        expected = {kind for kind, (_, modules) in KINDS.items() if module in (*ALWAYS, *modules)}
        if noticed != expected:
            wrong.append(f"{module} is in the keys of {sorted(noticed)}, and should be in those of {sorted(expected)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rule_knows_at_least_what_python_imports(kind):
    """The imports are read from the text: a way to import that the reader does not know would be left out of every key."""
    makers = KINDS[kind][0]
    program = f"import sys, {', '.join(makers)}\nprint(*[name for name in sys.modules if name.startswith({PACKAGE!r})])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - modules_behind(*makers).keys() == set()


def test_imports_in_functions_count_and_those_for_types_do_not(tmp_path):
    """Relative ones, `import a.b as c`, names of a package and of its modules; others' packages are no files of ours."""
    package = tmp_path / PACKAGE
    (package / "inner").mkdir(parents=True)
    texts = {
        "__init__": "",
        "maker": "import numpy.linalg\nfrom fcos_lib import plain\ndef build():\n    import fcos_lib.inner.late as late\n",
        "plain": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fcos_lib.types_only\nelse:\n    import onnx\n",
        "types_only": "",
        "unused": "",
        "inner/__init__": "from . import beside",
        "inner/late": "from .beside import something\nfrom ..plain import other",
        "inner/beside": "",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    behind = modules_behind("fcos_lib.maker", root=tmp_path)
    assert sorted(behind) == [
        "fcos_lib", "fcos_lib.inner", "fcos_lib.inner.beside", "fcos_lib.inner.late", "fcos_lib.maker", "fcos_lib.plain",
    ]  # fmt: skip
    assert dependencies("fcos_lib.maker", root=tmp_path)["libraries"].keys() == {"numpy", "onnx"}


def test_libraries_are_told_apart_by_their_versions():
    """The ones that compute; a module of another package, such as a test's, adds nothing."""
    libraries = dependencies("fcos_lib.artifacts.from_checkpoint")["libraries"]
    assert not {"mmdet", "numpy", "onnx", "torch"} - libraries.keys()
    assert libraries["numpy"] == installed("numpy")
    assert installed("no-such-distribution") == "not installed"
    assert dependencies(__name__)["libraries"] == {}


def test_artifacts_are_made_in_their_package_alone():
    """The store takes the sources from the module of the function that builds: it must be one of the package's."""
    elsewhere = []
    for path in sorted([*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "fixtures").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_bytes())):
            builds = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
            if builds and len(node.args) >= 3 and path.parent != ROOT / PACKAGE / "artifacts":
                elsewhere.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not elsewhere, f"artifacts are built in {elsewhere}"
    assert Path(__file__).parents[3] == ROOT
