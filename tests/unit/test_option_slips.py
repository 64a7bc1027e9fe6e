"""A slip of an option is one sentence before any work: each of these failed gate by gate, after half a minute, or not at all."""

import hashlib
import json
import os
import re
import shutil
import time
from types import SimpleNamespace

import msgspec
import pytest

from fcos_lib.contract import COCO_CLASSES
from fcos_lib.device import npus as device
from fcos_lib.errors import DeviceError
from fcos_lib.model.checkpoint_shapes import _telling
from fcos_lib.model.zoo import known_contracts
from fcos_lib.store.artifacts import FORMAT, Manifest, StoredFile
from fixtures.checks import OPENED, check_before_work, gates_will_run
from fixtures.options import pytest_report_header
from fixtures.options import settings as chosen_settings
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT
from tests.unit.parsed import ROOT, parsed

ANNOTATIONS = "annotations/instances_val2017.json"


@pytest.fixture
def refused(tmp_path):
    """The sentence with which these words are refused; fails if they are not, or in more than a second."""

    def check(*words):
        config = parsed(
            [f"--artifacts={tmp_path / 'artifacts'}", f"--benchmark-storage={tmp_path / 'history'}", *words]
        )
        started = time.monotonic()
        with pytest.raises(pytest.UsageError) as caught:
            check_before_work(config, chosen_settings(config))
        assert time.monotonic() - started < 1, "a check before any work takes longer than a second"
        (sentence,) = str(caught.value).splitlines()
        return sentence

    return check


@pytest.fixture
def paths(tmp_path):
    """A file, a folder, and the path of neither."""
    (tmp_path / "file").write_bytes(b"neither zip nor pickle")
    (tmp_path / "folder").mkdir()
    return {
        "FILE": tmp_path / "file",
        "FOLDER": tmp_path / "folder",
        "NONE": tmp_path / "none",
        "EMBEDDED": EMBEDDED_CHECKPOINT,
    }


@pytest.fixture
def with_data(tmp_path):
    """The words for a copy of the embedded dataset whose annotations were changed; its pictures are links."""

    def make(change):
        folder = tmp_path / "coco"
        shutil.copytree(EMBEDDED, folder, copy_function=os.link)
        document = json.loads((folder / ANNOTATIONS).read_text())
        change(document, folder)
        (folder / ANNOTATIONS).unlink()
        (folder / ANNOTATIONS).write_text(json.dumps(document))
        return f"--dataset={folder}", f"--checkpoint={EMBEDDED_CHECKPOINT}"

    return make


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dataset=@NONE", "--checkpoint=@EMBEDDED"], "dataset folder @NONE does not exist: pass --dataset FOLDER"),
        (["--dataset=@FILE", "--checkpoint=@EMBEDDED"], "dataset folder @FILE is no folder: pass --dataset FOLDER"),
        (["--dataset=@FOLDER", "--checkpoint=@EMBEDDED"], f"@FOLDER/{ANNOTATIONS} does not exist (@FOLDER holds nothing)"),
        (["--checkpoint=@NONE"], "checkpoint @NONE does not exist: pass --checkpoint FILE.pth"),
        (["--checkpoint=@FOLDER"], "checkpoint @FOLDER is no file: pass --checkpoint FILE.pth"),
        (["--checkpoint=@FILE"], "@FILE cannot be read as plain weights"),
        (["--artifacts=@FILE"], "the folder @FILE cannot be written (File exists)"),
        (["--artifacts=@FILE/below"], "the folder @FILE/below cannot be written (Not a directory)"),
        (["--pictures=241"], f"--pictures 241 is more than the 240 of {EMBEDDED}: pass a smaller number"),
        (["--onnx=@NONE"], "--onnx @NONE cannot be read (No such file or directory): pass an ONNX"),
        (["--onnx=@FOLDER"], "--onnx @FOLDER cannot be read (it is not a plain file)"),
        (["--om=@NONE"], "--om @NONE does not exist: pass --om FOLDER with an OM for each batch size"),
        (["--om=@FILE"], "--om @FILE is no folder"),
        (["--om=@FOLDER"], "there is no .om in @FOLDER"),
        (["--references=@FILE"], "the folder @FILE cannot be written (File exists)"),
        (["--baseline=@NONE"], "--baseline @NONE cannot be read (No such file or directory): pass the accepted.json"),
        (["--baseline=@FOLDER"], "--baseline @FOLDER cannot be read (it is not a plain file)"),
        (["--baseline=@FILE"], "@FILE is not JSON"),
        (["--benchmark-storage=@FILE"], "--benchmark-storage: @FILE cannot be made a folder"),
        (["--benchmark-storage=file://@FILE/below"], "--benchmark-storage: @FILE/below cannot be made a folder"),
        (["--benchmark-storage=elasticsearch+http://x"], "--benchmark-storage elasticsearch+http://x is no folder"),
        (["--onnx=@FILE", "--checkpoint=@NONE"], "checkpoint @NONE does not exist"),
        (["--atc-option=--fusion_switch_file=@NONE"], "--atc-option=--fusion_switch_file=@NONE names no file: pass its whole path"),
        (["--atc-option=--keep-dtype=keep.cfg"], "--atc-option=--keep-dtype=keep.cfg names no file"),
        (["--junit-xml=@FOLDER"], "--junit-xml @FOLDER is a folder: pass the path of a file"),
        (["--junit-xml=@FILE/junit.xml"], "--junit-xml: @FILE cannot be made a folder"),
        (["--junit-xml=$NOWHERE/x"], "--junit-xml '$NOWHERE/x': the environment variable NOWHERE is not set, or empty: set it"),
    ],
    ids=lambda value: "_".join(value).replace("/", "_") if isinstance(value, list) else "",
)  # fmt: skip
def test_a_path_that_is_missing_or_of_the_wrong_kind(refused, paths, words, sentence):
    """One sentence that names the option or the path, and what to pass."""
    for name, path in paths.items():
        words = [word.replace(f"@{name}", str(path)) for word in words]
        sentence = sentence.replace(f"@{name}", str(path))
    said = refused(*words)
    assert said.startswith(sentence), said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--batch-sizes 1,1", "'1,1' is not a list of different batch sizes"),
        ("--batch-sizes 0", "'0' is not a list"),
        ("--pictures 0", "'0' is not a number of pictures"),
        ("--device-id -1", "'-1' is not a device id"),
        ("--atc-time-limit 0", "'0' is not a number of minutes"),
        ("--require acuracy", "there is no promise 'acuracy'"),
        ("--dataset somewhere", "--dataset somewhere needs --checkpoint"),
        ("--dynamic-batch --batch-sizes 4", "1 profiles (4) cannot be compiled"),
        ("--dynamic-batch --om oms", "--dynamic-batch has no effect with --om"),
        ("--precision-mode origin --om oms", "--precision-mode origin has no effect with --om"),
        ("--atc-option=--model=x", "'--model=x' cannot be passed on to atc"),
    ],
)
def test_a_value_that_means_nothing_or_does_not_fit_another(capsys, words, sentence):
    """By argparse or by the settings, either of which is exit status 4 of pytest."""
    with pytest.raises((SystemExit, pytest.UsageError)) as caught:
        chosen_settings(parsed(words.split()))
    assert sentence in f"{caught.value} {capsys.readouterr().err}"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda document, _: document.pop("annotations"), "has no list 'annotations': use a COCO 'instances' file"),
        (lambda document, _: document["categories"][0].update(name="yacht"), "no model contract fits the dataset's 8 categories"),
        (lambda _, folder: next((folder / "val2017").iterdir()).unlink(), "names pictures that are not in"),
        (lambda _, folder: shutil.rmtree(folder / "val2017"), "(240 in all): unpack COCO's val2017.zip there"),
        (lambda document, _: document["annotations"][0].update(image_id=7), "refers to an image or category that the file does not list"),
    ],
    ids=["no_annotations", "unknown_category", "picture_missing", "no_pictures", "other_images"],
)  # fmt: skip
def test_a_data_set_that_nothing_can_be_judged_on(refused, with_data, change, sentence):
    """Whatever its annotations can tell, without a look at its pictures."""
    said = refused(*with_data(change))
    assert sentence in said, said


@pytest.mark.parametrize(
    ("inputs", "words", "have"),
    [({"batch": 2}, "1,2,4", "2"), ({"batch": 0, "dynamic_batches": [2, 8]}, "1,4", "2,8")],
    ids=["fixed", "profiles"],
)
def test_batch_sizes_that_none_of_the_oms_has(refused, paths, inputs, words, have):
    """Told from the manifest beside an OM that was compiled here; atc is not asked."""
    (paths["FOLDER"] / "model.om").write_bytes(b"om")
    manifest = Manifest(FORMAT, "om", "k", inputs, {"model.om": StoredFile("0" * 64, 2)}, "2026-01-01T00:00:00Z", 1.0)
    (paths["FOLDER"] / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    said = refused(f"--om={paths['FOLDER']}", f"--batch-sizes={words}")
    missing = ", ".join(size for size in words.split(",") if size not in have)
    assert said.startswith(f"{paths['FOLDER']} has OMs for batch sizes {have}, none for {missing}: "), said
    assert said.endswith(f"or pass --batch-sizes {have}")


def test_an_om_that_nothing_is_known_of_is_asked_later(paths, tmp_path):
    """Only atc can say what it serves: it may be the size that the others have not."""
    (paths["FOLDER"] / "model.om").write_bytes(b"om")
    config = parsed(
        [f"--artifacts={tmp_path / 'artifacts'}", f"--om={paths['FOLDER']}", f"--benchmark-storage={tmp_path}"]
    )
    check_before_work(config, chosen_settings(config))
    assert len(config.stash[OPENED].pictures) == 240


@pytest.mark.parametrize(("written", "said"), [(b"om", False), (b"an older one", True), (None, True)])
def test_of_an_om_whose_onnx_nobody_wrote_down_the_header_says_so(paths, tmp_path, written, said):
    """Its weights may be others, which looks like a faulty NPU; our own manifest is of the very file, or of none."""
    (paths["FOLDER"] / "model.om").write_bytes(b"om")
    if written:
        files = {"model.om": StoredFile(hashlib.sha256(written).hexdigest(), 2)}
        manifest = Manifest(FORMAT, "om", "k", {"batch": 4}, files, "2026-01-01T00:00:00Z", 1.0)
        (paths["FOLDER"] / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    config = parsed([f"--artifacts={tmp_path / 'artifacts'}", f"--om={paths['FOLDER']}"])
    words = "fcos: nobody wrote down of which ONNX model.om is: other weights look like a faulty NPU"
    assert (words in pytest_report_header(config)) is said


@pytest.mark.parametrize(
    "option",
    ["--artifacts", "--dataset", "--checkpoint", "--onnx", "--om", "--references", "--baseline"],
)
def test_an_empty_path_is_of_a_variable_that_nobody_set(capsys, option):
    """`--artifacts "$ARTIFACTS"` would have written into the current folder."""
    for words, sentence in (
        ([f"{option}="], "an empty text is not a path"),
        ([f"{option}=~nobody-of-this-name/x"], "no such user"),
    ):
        with pytest.raises(SystemExit):
            parsed(words)
        assert sentence in capsys.readouterr().err


def test_a_tilde_is_the_home_of_its_user(monkeypatch, tmp_path):
    """A shell leaves it alone behind a `=`; there was a folder of that name afterwards."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parsed(["--artifacts=~/kept"]).getoption("--artifacts") == tmp_path / "kept"


def test_a_folder_that_is_written_later_has_to_be_writable_now(refused, paths, monkeypatch):
    """After an hour of evaluation is too late to hear of it."""
    monkeypatch.setattr("fixtures.places.os.access", lambda path, _: path != paths["FOLDER"])
    said = refused(f"--benchmark-storage={paths['FOLDER']}")
    assert said.startswith(f"--benchmark-storage: {paths['FOLDER']} cannot be written")


def test_a_folder_of_results_that_everybody_may_change_is_refused(refused, paths):
    """What is found there counts, so it is somebody's."""
    paths["FOLDER"].chmod(0o777)
    for option in ("--artifacts", "--references"):
        assert refused(f"{option}={paths['FOLDER']}").startswith(
            f"every user of this machine can change {paths['FOLDER']}"
        )


@pytest.mark.parametrize("npu", ["auto", "required"])
def test_an_npu_that_is_not_there_is_not_emulated(monkeypatch, npu):
    """With others at hand, `--device-id 9` ran on the emulator and ended with 0."""

    def find(ids=()):
        if ids:
            raise DeviceError("npu-smi does not list device 9; it lists 0 (310P3)", "pass another --device-id")
        return (SimpleNamespace(stand_in=False),)

    monkeypatch.setattr(device, "find_devices", find)
    with pytest.raises(DeviceError, match="does not list device 9"):
        device.hardware_or_why_not(npu, (9,))
    monkeypatch.setattr(device, "find_devices", lambda ids=(): find((9,)))
    assert device.hardware_or_why_not("auto", (9,))[0] == (), "without any NPU the emulator has to do"


@pytest.mark.parametrize(
    ("args", "words", "expected"),
    [
        (["tests"], [], True),
        ([ROOT / "tests" / "acceptance" / "test_cost.py::test_x[a::b]"], [], True),
        (["tests/unit/../acceptance"], [], True),
        (["."], [], True),
        (["tests/unit"], [], False),
        (["tests/unit", "tests/gateproof"], [], False),
        (["tests/unit", "tests/acceptance"], [], True),
        (["tests"], ["--collect-only"], False),
    ],
)
def test_nothing_is_read_unless_gates_will_run(args, words, expected):
    """`pytest tests/unit` reads no dataset, however wrong it is."""
    assert gates_will_run(parsed(words, args=args)) is expected


def test_the_sentence_is_all_that_a_run_says(run, tmp_path):
    """Exit status 4, with two workers as well, and nothing is collected or written."""
    for workers in ((), ("-n", "2")):
        result = run("tests/acceptance", "-m", "accuracy", f"--checkpoint={tmp_path / 'none.pth'}", *workers, cold=True)
        assert result.returncode == 4, result.stdout + result.stderr
        said = f"ERROR: checkpoint {tmp_path / 'none.pth'} does not exist: pass --checkpoint FILE.pth"
        assert result.stderr.strip() == said, result.stderr
        assert not result.stdout.strip(), result.stdout


def test_a_run_of_unit_tests_takes_any_data_set(run, tmp_path):
    """What is not going to be read need not be there."""
    result = run("tests/unit/test_contract.py", "-q", f"--dataset={tmp_path / 'none'}", "--checkpoint=none.pth")
    assert result.returncode == 0, result.stdout + result.stderr


def as_coco(document, folder):
    """The dataset's categories become COCO's."""
    document["categories"] = [{"id": number, "name": name} for number, name in enumerate(COCO_CLASSES, start=1)]
    for box in document["annotations"]:
        box["category_id"] = 1


def header(*words):
    """What the first lines of such a run say of its contract."""
    config = parsed(list(words))
    check_before_work(config, chosen_settings(config))
    (line,) = (line for line in pytest_report_header(config) if line.startswith("fcos: contract "))
    return line.removeprefix("fcos: contract ")


def test_the_contract_is_said_with_what_says_so(with_data, tmp_path):
    """By name, by a file, by the dataset's classes or by the checkpoint; one that fits several is a slip with their names."""
    torch = pytest.importorskip("torch", reason="needs the extra 'export'")

    def checkpoint(name):
        """The option for weights by which this contract is told; of each a single number is in the file."""
        shapes = {key: size for key, size in _telling(known_contracts()[name]).items() if size is not None}
        path = tmp_path / f"{name}.pth"
        torch.save({key: torch.zeros(()).expand(size) for key, size in shapes.items()}, path)
        return f"--checkpoint={path}"

    folder, _ = with_data(as_coco)
    mine = tmp_path / "mine.toml"
    mine.write_text('name = "mine"\nclasses = ["car", "person"]\n')
    assert header() == "shapes, that of the dataset's classes"
    assert header("--contract=shapes") == "shapes, as --contract shapes says"
    assert header(folder, f"--checkpoint={EMBEDDED_CHECKPOINT}") == "coco_r50, that of the dataset's classes"
    named = header(folder, f"--checkpoint={EMBEDDED_CHECKPOINT}", f"--contract={mine}")
    assert named == f"mine, as --contract {mine} says"
    (r18,) = (name for name in known_contracts() if "r18" in name)
    found = header(folder, checkpoint(r18))
    assert found == f"{r18}, recognised from the checkpoint"
    config = parsed([folder, checkpoint("fcos_r50-caffe_fpn_gn-head_1x_coco")])
    several = "fits 3 contracts: fcos_r50-caffe_fpn_gn-head_1x_coco, .*: say which it is with --contract NAME"
    with pytest.raises(pytest.UsageError, match=several):
        check_before_work(config, chosen_settings(config))


def test_a_contract_of_other_classes_is_a_slip(refused):
    """Eight drawings are not COCO's 80."""
    assert re.search(
        r"contract 'coco_r50' has 80 classes that .*instances_val2017.json lacks", refused("--contract=coco_r50")
    )
