"""Bundles: what `bundle` packs of a run, what it leaves out, and what `replay` finds on another machine."""

import json
import shutil
import socket
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec import structs

from fcos_lib.artifacts import ASCEND
from fcos_lib.cli.main import main
from fcos_lib.contract import SHAPES
from fcos_lib.diagnosis import layers as layers_module
from fcos_lib.diagnosis.layers import LayerError, LayerSearch
from fcos_lib.errors import UsageError
from fcos_lib.model.zoo import known_contracts
from fcos_lib.sharing import pack
from fcos_lib.sharing.bundle import KEPT_VALUES, contract_of, read_bundle
from fcos_lib.sharing.pack import depart, said_of, worst_of
from fcos_lib.stream.dataset import open_dataset
from fixtures.settings import EMBEDDED
from tests.prepared import take_over
from tests.unit.sharing.bundles import changed, tensors, write


def replayed(capsys, path, *options):
    """(exit status, lines) of replaying a bundle."""
    capsys.readouterr()
    return main(["replay", str(path), *map(str, options)]), capsys.readouterr().out.splitlines()


@pytest.fixture
def own_runtime():
    """The emulator's aclruntime is imported for this test alone."""
    sys.modules.pop("aclruntime", None)
    yield
    sys.modules.pop("aclruntime", None)


@pytest.fixture
def run(prepared, tmp_path):
    """A stored run of the suite, with an artifact folder of the test's own, whose name atc and aclruntime refuse."""
    folder = tmp_path / "my artifacts: 产物"
    take_over(prepared, folder)
    results = folder / "results" / "results.json"
    results.parent.mkdir()
    shutil.copy(prepared / "results" / "results.json", results)
    return results, ("--npu", "emulated", "--artifacts", str(folder))


def test_a_bundle_of_a_run_is_replayed_elsewhere(run, tmp_path, capsys, own_runtime, monkeypatch):
    """Two pictures with the ONNX: what was found belongs to the run's root, and everything comes out the same; changed, not."""
    results, options = run
    evaluated = list(json.loads(results.read_text(encoding="utf-8"))["detections"][0]["found"])
    ids = [evaluated[0], evaluated[50]]
    output = tmp_path / "bundle.zip"
    assert main(["bundle", str(results), "--pictures", *ids, "--with", "onnx", "-o", str(output), *options]) == 0
    assert "2 of them as the run found them" in capsys.readouterr().err
    elsewhere = tmp_path / "elsewhere" / "copy.zip"
    elsewhere.parent.mkdir()
    output.rename(elsewhere)
    status, lines = replayed(capsys, elsewhere, "--layers", "--npu", "emulated")
    assert status == 0, "\n".join(lines)
    (layers,) = [line for line in lines if "compiled here" in line]
    assert layers.startswith("same: 119 layers compiled here for Ascend310P3, STAND-IN: the emulator's: none differs")
    assert lines[0].endswith("STAND-IN: the candidate is the emulator's")
    for number in ids:
        for words in ("belongs to the root", "network input", "reference, the same bits", "layers of the reference, the same bits"):  # fmt: skip
            assert [line for line in lines if line.startswith(f"same: picture {number}: ") and words in line], words
    with zipfile.ZipFile(elsewhere) as archive:
        said = archive.read("manifest.json").decode()
    for word in (str(tmp_path), "/plain-", str(Path.home()), socket.gethostname(), str(Path.cwd())):
        assert word not in said, f"the manifest says {word}"

    bad = LayerError("/conv", "Conv", ("/conv",), 0.5, 0.001)
    monkeypatch.setattr(layers_module, "search_layers", lambda case, pictures: LayerSearch((bad,), ()))
    status, lines = replayed(capsys, elsewhere, "--layers", "--npu", "emulated")
    assert status == 1
    assert any(
        line.endswith("the first that differs from the reference is /conv, 500 times what fp16 explains")
        for line in lines
    )

    def rename(manifest):
        manifest["layers"][5] += "x"

    def shift(arrays):
        arrays["reference_boxes"] += 1
        arrays["layers"][70, 3] += 1

    status, lines = replayed(capsys, changed(elsewhere, lambda manifest: None, arrays=shift))
    assert status == 1
    assert [line for line in lines if line.startswith("differs") and "reference" in line]
    assert [line for line in lines if "the first of 119 layers of the reference that differs is" in line]
    status, lines = replayed(capsys, changed(elsewhere, rename))
    assert status == 1
    assert [line for line in lines if "other layers than the bundle lists" in line]


def test_a_picture_can_stay_at_home(run, tmp_path, capsys, own_runtime):
    """Left out, what both sides computed is all there is; the worst of the run's evidence are found by themselves."""
    results, options = run
    output = tmp_path / "bundle.zip"
    assert main(["bundle", str(results), "--worst", "1", "--no-pictures", "-o", str(output), *options]) == 0
    assert [name for name in read_bundle(output).members if "picture." in name] == []
    status, lines = replayed(capsys, output)
    assert status == 0
    (picture,) = read_bundle(output).manifest.pictures
    assert f"not checked: picture {picture.id}: network input and reference: the picture is left out" in lines
    assert [line for line in lines if "belongs to the root" in line]


def test_a_blurred_picture_is_another_one(tmp_path, capsys):
    """It shows what is where, and nobody takes it for the network's input."""
    path = write(tmp_path / "bundle.zip", "blurred")
    bundle = read_bundle(path)
    (name,) = [name for name in bundle.members if "picture." in name]
    original = open_dataset(EMBEDDED).pictures[0]
    assert bundle.members[name] != original.path.read_bytes()
    pixels = [cv2.imdecode(np.frombuffer(data, np.uint8), 1).astype(int) for data in (bundle.members[name], original.path.read_bytes())]  # fmt: skip
    edges = [np.abs(np.diff(each, axis=1)).max() for each in pixels]
    assert edges[0] < edges[1] / 4, f"edges of {edges[0]} are left of {edges[1]}"
    status, lines = replayed(capsys, path)
    assert status == 0
    assert any(line.endswith("the picture is blurred") for line in lines)


def test_without_a_model_the_reference_is_not_checked(tmp_path, capsys):
    """And one that is given has to be that of the bundle."""
    path = write(tmp_path / "bundle.zip")
    status, lines = replayed(capsys, path)
    assert status == 0
    assert [line for line in lines if "no ONNX is in the bundle: pass --onnx" in line]
    assert [line for line in lines if line.startswith("same: ") and line.endswith("network input")]
    (tmp_path / "other.onnx").write_bytes(b"x")
    assert main(["replay", str(path), "--onnx", str(tmp_path / "other.onnx")]) == 3
    assert "is not the ONNX that the bundle's OM was compiled from" in capsys.readouterr().err
    assert main(["replay", str(path), "--onnx", str(tmp_path / "missing.onnx")]) == 3


def test_an_onnx_from_elsewhere_serves(tmp_path, capsys, only_onnx):
    """The run's own, which was too large to be packed."""
    (onnx,) = (only_onnx / "onnx").glob(f"*/{ASCEND}")
    from fcos_lib.files import sha256_of

    path = write(tmp_path / "bundle.zip", onnx=sha256_of(onnx))
    status, lines = replayed(capsys, path, "--onnx", onnx)
    assert status == 1, "these results were invented"
    assert [line for line in lines if line.startswith("differs: ") and "reference" in line]


def reclaim(manifest):
    """Say less differs than does."""
    manifest["pictures"][0]["differences"] = ["nothing of the kind"]


def other_file(manifest):
    """Claim another file."""
    manifest["pictures"][0]["file_sha256"] = "0" * 64


def other_input(manifest):
    """Claim another network input."""
    manifest["pictures"][0]["input_sha256"] = "0" * 64


def other_nms(manifest):
    """Claim that NMS differs."""
    manifest["pictures"][0]["nms"] = 7


def other_root(manifest):
    """Claim another run's root."""
    manifest["pictures"][0]["proof"]["root"] = "0" * 64


def move(arrays):
    """Another detection of the candidate."""
    arrays["candidate_dets"][0, 0] += 1


@pytest.mark.parametrize(
    ("change", "arrays", "words"),
    [
        (reclaim, None, "1 of the bundle's do not come out here"),
        (other_file, None, "does not belong to the run's root"),
        (other_input, None, "network input: decoding or letterboxing"),
        (other_nms, None, "7 in the bundle, 0 here"),
        (other_root, None, "does not belong to the run's root 000000000000"),
        (lambda manifest: None, move, "does not belong to the run's root"),
    ],
    ids=["explanation", "file", "input", "nms", "root", "detection"],
)
def test_a_changed_bundle_differs_and_says_where(tmp_path, capsys, change, arrays, words):
    """Also if its digests were made to fit again."""
    path = write(tmp_path / "bundle.zip")
    assert replayed(capsys, path)[0] == 0
    status, lines = replayed(capsys, changed(path, change, arrays=arrays))
    assert status == 1
    assert [line for line in lines if line.startswith("differs: ") and words in line], "\n".join(lines)


def test_the_differences_of_both_sides_are_in_the_bundle(tmp_path):
    """With causes; one that the NMS made is told from one of the network."""
    same, gone = tensors(), tensors()
    gone.labels[2], gone.dets[2] = 0, 0  # proposed, and not detected
    for candidate, differences, nms in ((same, 0, 0), (tensors(5.0), 3, 0), (tensors(count=2), 1, 0), (gone, 1, 1)):
        picture = read_bundle(write(tmp_path / "bundle.zip", candidate=candidate)).manifest.pictures[0]
        assert (len(picture.differences), picture.nms) == (differences, nms), picture.differences


def test_what_the_run_said_goes_with_it(tmp_path, capsys):
    """The explanation of stages and layers that the run has, of the OM under test alone."""
    _, lines = replayed(capsys, write(tmp_path / "bundle.zip"))
    assert lines[1] == "the run said: of -0.0420: -0.0390 network"
    change = {"value": -0.05, "low": -0.06, "high": -0.04}
    stages = [{"stage": "network", **change}, {"stage": "NMS", "value": 0.0, "low": 0.0, "high": 0.0}]
    ladder = {"total": change, "stages": stages, "pictures": 240, "sentence": "of -0.0500: -0.0500 network"}
    document = {"evidence": [{"kind": "ladder", "subject": "batch4", "data": ladder}]}
    assert said_of(document, "batch4")[0].endswith("over 240 pictures, of -0.0500: -0.0500 network")
    assert said_of(document, "batch8") == []


def test_layers_need_a_model_and_a_picture(tmp_path, capsys):
    """Without either nothing is compiled."""
    for shown in ("whole", "left out"):
        assert main(["replay", str(write(tmp_path / "bundle.zip", shown)), "--layers", "--npu", "emulated"]) == 3
        assert "--layers needs an ONNX and a picture" in capsys.readouterr().err


def test_what_the_run_did_not_find_has_no_proof(tmp_path, capsys):
    """Said, and not called wrong."""
    path = changed(write(tmp_path / "bundle.zip"), lambda manifest: manifest["pictures"][0].update(proof=None))
    status, lines = replayed(capsys, path)
    assert status == 0
    assert any("it is not what the run found" in line for line in lines if line.startswith("not checked"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest.update(format=0), "has the format 0, this release reads 1"),
        (lambda manifest: manifest.update(format=2), "has the format 2, this release reads 1"),
        (
            lambda manifest: manifest["contract"].update(name="../x"),
            "the manifest of the bundle is not a model contract",
        ),
        (lambda manifest: manifest["contract"].update(candidate_names=["b", "s"]), "a contract 'shapes' that differs"),
        (lambda manifest: manifest["contract"].update(name="shapes_gn"), "a contract 'shapes_gn' that differs"),
        (lambda manifest: manifest["pictures"].append(manifest["pictures"][0]), "not those of its manifest, each once"),
        (lambda manifest: manifest["pictures"][0].update(shown="left out"), "not those of its manifest"),
        (lambda manifest: manifest["pictures"][0].update(id=-1), "is not the manifest of a bundle"),
        (lambda manifest: manifest["members"].update({"model.om": {"sha256": "0" * 64, "size": 0}}), "model.om"),
    ],
    ids=["old", "new", "name", "field", "other", "twice", "shown", "id", "member"],
)
def test_another_release_s_or_a_crooked_bundle_is_refused(tmp_path, capsys, change, words):
    """Before anything is computed."""
    assert main(["replay", str(changed(write(tmp_path / "bundle.zip"), change))]) == 3
    assert words in capsys.readouterr().err


def test_a_contract_of_somebodys_own_travels_with_the_bundle(tmp_path, capsys):
    """Whoever replays it has no file of it: the manifest describes it. So has one of mmdetection's zoo no need of a name here."""
    path = changed(write(tmp_path / "bundle.zip"), lambda manifest: manifest["contract"].update(name="mine"))
    status, lines = replayed(capsys, path)
    assert status == 0, "\n".join(lines)
    assert read_bundle(path).contract == replace(SHAPES, name="mine", center_sampling=False)
    published = known_contracts()["fcos_r101-caffe_fpn_gn-head-1x_coco"]
    manifest = structs.replace(read_bundle(path).manifest, contract=json.loads(json.dumps(published.as_dict())))
    assert contract_of(manifest) is published


def test_a_flipped_bit_is_found(tmp_path, capsys):
    """Where a manifest names digests, the members are these."""
    path = write(tmp_path / "bundle.zip")
    assert main(["replay", str(changed(path, lambda manifest: None, rehash=False, arrays=move))]) == 3
    assert "is not what its manifest says" in capsys.readouterr().err


def test_a_bundle_is_held_against_a_statement(tmp_path, stored, capsys):
    """Its pictures belong to the statement's root, or to that of another run."""
    path = write(tmp_path / "bundle.zip")
    (picture,) = read_bundle(path).manifest.pictures

    def of_bundle(document):
        document["detections"][0]["found"] = {str(picture.id): picture.proof.found}
        document["pictures"] = {str(picture.id): picture.proof.file}
        document["detections"][0]["root"] = picture.proof.root

    for change, status in ((of_bundle, 0), (lambda document: None, 1)):
        statement = tmp_path / "statement.json"
        assert main(["attest", str(stored(change)), "-o", str(statement)]) == 0
        ended, lines = replayed(capsys, path, "--statement", statement)
        assert ended == status
        word = "differs" if status else "same"
        assert [line for line in lines if line.startswith(f"{word}: picture {picture.id} of batch4")]
    bare = changed(path, lambda manifest: manifest["pictures"][0].update(proof=None))
    ended, lines = replayed(capsys, bare, "--statement", statement)
    assert ended == 0
    assert f"not checked: picture {picture.id} in the statement: the bundle has no proof for it" in lines


def test_what_is_too_large_is_not_written(tmp_path, monkeypatch):
    """Nor is anything where it cannot be, or a picture's name that tells of a machine."""
    monkeypatch.setattr(pack, "MOST_BYTES", 100_000)
    with pytest.raises(UsageError, match="the bundle would have"):
        write(tmp_path / "bundle.zip")
    monkeypatch.undo()
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path / "nowhere" / "bundle.zip")
    with pytest.raises(UsageError, match="must not travel"):
        write(tmp_path / "bundle.zip", cpu="CPU of me@host")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [(), ("--pictures", "1", "--worst", "1"), ("--worst", "0"), ("--pictures", "x"), ("--worst", "1", "--with", "pth"), ("--worst", "1", "--blur", "--no-pictures")],
    ids=["none", "both", "zero", "name", "with", "shown"],
)  # fmt: skip
def test_an_impossible_choice_is_a_usage_error(options):
    """argparse says which."""
    with pytest.raises(SystemExit) as stopped:
        main(["bundle", "results.json", *options])
    assert stopped.value.code == 2


def test_the_worst_pictures_are_those_of_the_evidence():
    """By what they lost, of this subject, among the pictures of the dataset; without evidence one is told to name them."""
    pictures = open_dataset(EMBEDDED).pictures[:3]
    shown = [{"name": picture.name, "score_loss": loss} for picture, loss in zip(pictures, (0.1, 0.9, 0.5), strict=True)]  # fmt: skip
    record = {
        "kind": "pictures",
        "subject": "batch4",
        "data": {"pictures": [*shown, {"name": "other.jpg", "score_loss": 2}, 7]},
    }
    other = {**record, "subject": "batch1", "data": {"pictures": [{**shown[0], "score_loss": 5.0}]}}
    document = {"evidence": [{"kind": "ladder", "subject": "batch4", "data": {}}, record, other]}
    assert worst_of(document, "batch4", pictures, 2) == [pictures[1], pictures[2]]
    with pytest.raises(UsageError, match="shows no picture of batch8"):
        worst_of(document, "batch8", pictures, 1)


def test_the_layer_that_departs_is_found():
    """As a share of its own values; what is not finite on one side is infinitely far."""
    kept = np.ones((3, KEPT_VALUES), np.float32)
    kept[:, 0] = [2, 4, 1]
    computed = kept.copy()
    computed[1, 7] += 1
    computed[2, 9] = np.nan
    assert depart(kept, computed).tolist() == [0.0, 0.25, np.inf]
