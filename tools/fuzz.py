"""Coverage-guided fuzzing of our parsers, for maintainers: `python tools/fuzz.py TARGET --runs N`.

Needs atheris (`pip install atheris==3.0.0`), which nothing else here needs. A target is a function of bytes that may raise what
its parser promises and nothing else; `tests/unit/hostile` runs every file of the corpus through it without atheris. What a run
finds that is worth keeping belongs into tests/unit/hostile/corpus/TARGET/.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import copy
import functools
import hashlib
import io
import json
import marshal
import os
import shutil
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CORPUS = ROOT / "tests" / "unit" / "hostile" / "corpus"


@functools.cache
def _folder() -> Path:
    """The folder of all files that targets read, removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def npu_smi(data: bytes) -> None:
    """The tables of npu-smi, and what a chip is called."""
    from fcos_lib.ascend.npu_smi import soc_version
    from fcos_lib.ascend.npu_tables import parse_info, parse_logical_ids, parse_processes, parse_versions
    from fcos_lib.errors import DeviceError

    text = data.decode("utf-8", "replace")
    parse_versions(text)
    for parse in (parse_processes, parse_logical_ids):
        with contextlib.suppress(DeviceError):
            parse(text)
    with contextlib.suppress(DeviceError):
        for npu in parse_info(text):
            assert len(soc_version(npu, text)) < 160


def atc_log(data: bytes) -> None:
    """What atc and aclruntime print: errors, and an OM's own account of itself."""
    from fcos_lib.ascend.acl_errors import runtime_error
    from fcos_lib.ascend.atc import parse_om_info
    from fcos_lib.ascend.atc_errors import diagnose
    from fcos_lib.ascend.provenance import batch_sizes, command_options
    from fcos_lib.errors import SessionError

    status, text = (data[0] if data else 0), data[1:].decode("utf-8", "replace")
    found, advice = diagnose(status - 128, text)
    assert 0 < len(found) < 2000 > len(advice)
    runtime_error("running", text, RuntimeError(text[:100]), SessionError, "try again")
    batch_sizes(command_options(parse_om_info(text)["command_line"]))


def version_info(data: bytes) -> None:
    """`version.info` and its like of a driver and a toolkit."""
    from fcos_lib.ascend.toolkit import discover

    path = _folder() / "version.info"
    path.write_bytes(data)
    os.makedirs(_folder() / "home", exist_ok=True)
    (_folder() / "home" / "version.cfg").write_bytes(data)
    toolkit = discover({"ASCEND_DRIVER_PATH": str(_folder()), "ASCEND_TOOLKIT_HOME": str(_folder() / "home")})
    assert (toolkit.driver_version + toolkit.firmware_version + toolkit.cann_version).isprintable()


def compile_reports(data: bytes) -> None:
    """What atc reports of its work: an OM as JSON, and the fusion rules."""
    from fcos_lib.measure.cost.compile_reports import fusions, om_operators

    path = _folder() / "report.json"
    path.write_bytes(data)
    for read in (om_operators, fusions):
        with contextlib.suppress(ValueError):
            read(path)


def result_file(data: bytes) -> None:
    """One file of a result folder, in each of its formats."""
    from fcos_lib.errors import UsageError
    from fcos_lib.recipe.ais_bench import FORMATS, read_result

    path = _folder() / f"1_0.{FORMATS[data[0] % 3] if data else 'bin'}"
    path.write_bytes(data[1:])
    with contextlib.suppress(UsageError):
        assert len(read_result(path, _contract())) == _contract().max_detections


def result_folder(data: bytes) -> None:
    """The names in a result folder: files of one valid content with these names, one per line."""
    from fcos_lib.errors import DatasetError, UsageError
    from fcos_lib.recipe.result_folder import read_results
    from fcos_lib.stream.dataset import Dataset, Picture

    pictures = (Picture(1, Path("1.jpg"), 64, 48), Picture(2, Path("2.jpg"), 64, 48))
    folder = _folder() / "results"
    folder.mkdir(exist_ok=True)
    written = []
    contents = (b"\0" * _contract().max_detections * 8, b"\0" * _contract().max_detections * 20)
    for number, name in enumerate(data.split(b"\n")[:8]):
        name = name.replace(b"/", b"")[:100]
        if name and name not in (b".", b"..") and b"\0" not in name:
            written.append(os.path.join(os.fsencode(folder), name))
            with open(written[-1], "wb") as file:
                file.write(contents[number % 2])
    try:
        with contextlib.suppress(DatasetError, UsageError):
            read_results(folder, Dataset(folder, folder, "", pictures, {}), _contract())
    finally:
        for path in set(written):
            os.unlink(path)


def journal(data: bytes) -> None:
    """The file of a shard."""
    from fcos_lib.errors import JournalError
    from fcos_lib.stream.journal_shards import pack_shard, unpack_shard

    with contextlib.suppress(ValueError, JournalError):
        pack_shard("t", *unpack_shard(data, "t", (1, 2, 3)))


def manifest(data: bytes) -> None:
    """The manifests of the store and of a champion."""
    from fcos_lib.artifacts.champions import Place, champion_of
    from fcos_lib.contract import InputLayout
    from fcos_lib.errors import StoreError
    from fcos_lib.store.artifacts import Store

    root = _folder() / "store"
    folder = root / "om" / "k"
    champion = root / "champions" / "shapes-Ascend310P3-batch8" / "0001"
    if not folder.is_dir():
        for path in (folder, champion):
            path.mkdir(parents=True)
            (path / "model.om").write_bytes(b"om")
    for path in (folder, champion):
        (path / "manifest.json").write_bytes(data)
    store = _STORE.setdefault(root, None) or _STORE.__setitem__(root, Store(root)) or _STORE[root]
    artifact = store._read("om", "k", folder)
    assert artifact is None or all((folder / name).resolve().is_relative_to(folder) for name in artifact.files)
    with contextlib.suppress(StoreError):
        champion_of(root, Place("shapes", "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, False))


def results(data: bytes) -> None:
    """`results.json`: the file as it is, or a valid one that the bytes spoil, and everything that shows it."""
    from fcos_lib.errors import UsageError
    from fcos_lib.evidence.difference import difference
    from fcos_lib.evidence.markdown import Annotation, summary, workflow_commands
    from fcos_lib.evidence.page import render
    from fcos_lib.evidence.results import again, in_reading_order, read_results, stored_verdict, verdict_table
    from fcos_lib.judge.verdict import paragraph

    path = _folder() / "results.json"
    path.write_bytes(data if data[:1] == b"{" else json.dumps(_spoilt(_part(data), data[1:])).encode())
    try:
        document = read_results(path)
    except UsageError:
        return
    verdicts = [stored_verdict(entry) for entry in document["verdicts"]]
    texts = [paragraph(one, again=again(document, "t")) for one in verdicts]
    verdict_table(in_reading_order([one.as_dict() for one in verdicts]))
    assert all("\n" not in line for line in workflow_commands([Annotation(text, text, text) for text in texts]))
    rare = zlib.crc32(data)
    if rare % 8 == 0:  # a summary takes ten times as long, a page a hundred times
        json.dumps(difference(document, _run()).as_dict())
        summary(document).encode()
    if rare % 512 == 0:
        page = render(document)
        assert not any(bad in page for bad in ("<script>alert", "\x1b"))


def statement(data: bytes) -> None:
    """A statement, signed or not: the file as it is, or a valid one that the bytes spoil, and all that checks it."""
    from fcos_lib.errors import FcosError
    from fcos_lib.sharing.checking import as_document, in_itself, with_picture
    from fcos_lib.sharing.envelope import read_statement
    from fcos_lib.sharing.statement import PICTURE_PROOFS

    whole = json.loads((CORPUS / "statement" / "whole.json").read_text(encoding="utf-8"))
    path = _folder() / "statement.json"
    path.write_bytes(data if data[:1] == b"{" else json.dumps(_spoilt(whole, data)).encode())
    with contextlib.suppress(FcosError):
        stated, _ = read_statement(path)
        assert all("\n" not in check.what for check in in_itself(stated))
        as_document(stated)
    with contextlib.suppress(FcosError):
        proof = json.loads((CORPUS / "statement" / "proof.json").read_text(encoding="utf-8"))
        proofs = PICTURE_PROOFS.of(_spoilt(proof, data), "proof")
        list(with_picture(read_statement(CORPUS / "statement" / "whole.json")[0], proofs))


def bundle(data: bytes) -> None:
    """A bundle: the file as it is, or a valid one whose manifest the bytes spoil, with tensors of zeros; replayed without a model."""
    from fcos_lib.errors import FcosError
    from fcos_lib.sharing.bundle import read_members
    from fcos_lib.sharing.replay import replay_bundle

    if data[:2] == b"PK":
        packed = data
    else:
        document = json.loads((CORPUS / "bundle" / "manifest.json").read_text(encoding="utf-8"))
        zeros = _zeros()
        name = "pictures/1/tensors.npz"
        document["members"] = {name: {"sha256": hashlib.sha256(zeros).hexdigest(), "size": len(zeros)}}
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            archive.writestr("manifest.json", data if data[:1] == b"{" else json.dumps(_spoilt(document, data)))
            archive.writestr(name, zeros)
        packed = written.getvalue()
    with contextlib.suppress(FcosError):
        assert all("\n" not in check.what for check in replay_bundle(read_members(packed, "bundle"), None))


@functools.cache
def _zeros() -> bytes:
    """The tensors of a picture in which nothing was found."""
    import numpy as np

    from fcos_lib.stream.array_file import pack_arrays

    contract, arrays = _contract(), {}
    for side in ("reference", "candidate"):
        arrays[f"{side}_labels"] = np.zeros(contract.max_detections, "<i8")
        arrays[f"{side}_dets"] = np.zeros((contract.max_detections, 5), "<f4")
        arrays[f"{side}_boxes"] = np.zeros((contract.proposals, 4), "<f4")
        arrays[f"{side}_scores"] = np.zeros((contract.proposals, len(contract.classes)), "<f4")
    return pack_arrays(arrays)


def throughput(data: bytes) -> None:
    """A file of pytest-benchmark's and `accepted.json`."""
    from fcos_lib.errors import UsageError
    from fcos_lib.judge.accepted import read_accepted
    from fcos_lib.judge.history import read_run

    path = _folder() / "run.json"
    path.write_bytes(data)
    for read in (read_accepted, read_run):
        with contextlib.suppress(UsageError):
            read(path)


def picture(data: bytes) -> None:
    """The header of a picture, before anything is decoded: its size, its kind, and whether it is to be turned."""
    from fcos_lib.stream.picture_file import orientation_of, read_file, size_of

    with contextlib.suppress(ValueError):
        width, height = size_of(data)
        assert 0 <= width < 2**32 > height >= 0
    path = _folder() / "a.jpg"
    path.write_bytes(data)
    assert 1 <= orientation_of(path) <= 8
    with contextlib.suppress(ValueError):
        assert read_file(path) == data


def annotations(data: bytes) -> None:
    """An annotation file: as it is, or a valid one that the bytes spoil, and the objects in it."""
    from fcos_lib.errors import DatasetError
    from fcos_lib.measure.coco.truth import read_truth
    from fcos_lib.stream.dataset import ANNOTATIONS, PICTURES, open_dataset

    root = _folder() / "coco"
    if not root.is_dir():
        for below in ("annotations", f"{PICTURES}/street"):
            (root / below).mkdir(parents=True)
        for name in ("a.jpg", "street/a.jpg"):
            (root / PICTURES / name).touch()
    whole = (CORPUS / "annotations" / "whole.json").read_bytes()
    (root / ANNOTATIONS).write_bytes(
        data if data[:1] == b"{" else json.dumps(_spoilt(json.loads(whole), data)).encode()
    )
    with contextlib.suppress(DatasetError):
        opened = open_dataset(root)
        assert all(each.path.resolve().is_relative_to(root / PICTURES) for each in opened.pictures)
        assert all(type(each.id) is int and 0 <= each.id < 2**63 and 0 < each.width < 65536 for each in opened.pictures)
        assert not any("\n" in remark or "\x1b" in remark for remark in opened.remarks)
        truth = read_truth(opened)
        assert truth.pictures.max(initial=0) < len(opened.pictures)
        assert truth.only([opened.pictures[0].id]).pictures.max(initial=0) == 0


def checkpoint(data: bytes) -> None:
    """A `.pth`, before torch may read it: as it is, and as the pickle of an archive."""
    from fcos_lib.model.checkpoint import check_file

    path = _folder() / "x.pth"
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        assert check_file(path) == len(data)
    if len(data) % 16 == 0:  # takes ten times as long
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", data)
        with contextlib.suppress(ValueError):
            check_file(path)


def coco_results(data: bytes) -> None:
    """A COCO result file of any detector, whole and in small pieces, for a picture 7 with a category 1."""
    from fcos_lib.errors import UsageError
    from fcos_lib.measure.coco import result_file
    from fcos_lib.measure.coco.truth import read_annotation_file

    path, beside = _folder() / "rows.json", _folder() / "instances.json"
    if not beside.exists():
        beside.write_text(
            '{"images": [{"id": 7, "file_name": "7.jpg", "width": 9, "height": 9}], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}'
        )
    path.write_bytes(data)
    if beside not in _STORE:
        _STORE[beside] = read_annotation_file(beside).truth
    truth = _STORE[beside]
    came: list[Any] = []
    for piece in (4 << 20, 256):
        with mock.patch.multiple(result_file, PIECE=piece, PART=piece // 3):
            try:
                came.append(result_file.read_detections(path, truth).scores.tolist())
            except UsageError:
                came.append(None)
    assert came[0] == came[1] or len(data) > 512, "a file is what it is, in whatever pieces it is read"


def config(data: bytes) -> None:
    """A config of mmdetection, alone and as the base of one; whatever is read gives a contract or an error with a line."""
    from fcos_lib.errors import UsageError
    from fcos_lib.model.config_contract import as_toml, contract_fields
    from fcos_lib.model.config_files import read_config

    folder = _folder() / "configs"
    folder.mkdir(exist_ok=True)
    (folder / "base.py").write_bytes(data)
    child = folder / "child.py"
    if not child.exists():
        child.write_text("_base_ = 'base.py'\nmodel = dict(bbox_head=dict(num_classes=2))\nclasses = ('a', 'b')\n")
    for path in (folder / "base.py", child):
        with contextlib.suppress(UsageError):
            as_toml(contract_fields(read_config(path), "x"), "x.py")


def contract_record(data: bytes) -> None:
    """A contract as TOML and as JSON."""
    from fcos_lib.errors import UsageError
    from fcos_lib.model.contract_record import read_contract

    for name in ("x.toml", "x.json"):
        path = _folder() / name
        path.write_bytes(data)
        with contextlib.suppress(UsageError):
            assert read_contract(path).classes


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        npu_smi,
        atc_log,
        version_info,
        compile_reports,
        result_file,
        result_folder,
        journal,
        manifest,
        results,
        statement,
        bundle,
        throughput,
        picture,
        annotations,
        checkpoint,
        coco_results,
        config,
        contract_record,
    )
}
_STORE: dict[Path, Any] = {}
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 2**63, 1e-300, "", "nan", "\x1b[31m", "::error::x", "<script>alert(1)</script>", "a\nb", "|`*_[x](y)",
    "\u202e", "x" * 5000, [], {}, [[]], [1], {"a": None}, "batch8", "PASS", "STAND-IN",
)  # fmt: skip


def _contract() -> Any:
    from fcos_lib.contract import CONTRACTS

    return CONTRACTS["shapes"]


def _run() -> dict[str, Any]:
    """A small valid document; the corpus has one with everything."""
    if not _RUN:
        _RUN.update(json.loads((CORPUS / "results" / "whole.json").read_text(encoding="utf-8")))
    return _RUN


_RUN: dict[str, Any] = {}


def _part(data: bytes) -> dict[str, Any]:
    """That document with one kind of evidence, which the first byte says: three times as fast as with all of it."""
    whole = _run()
    kinds = whole["evidence"]
    return {**whole, "evidence": [kinds[data[0] % len(kinds)]] if data else kinds}


def _spoilt(document: Any, data: bytes) -> Any:
    """The document after changes that three bytes each describe: where twice, and what comes there."""
    found = marshal.loads(marshal.dumps(document))  # the fastest copy
    for place in range(0, min(len(data), 24) - 2, 3):
        node: Any = found
        steps = data[place] | data[place + 1] << 8
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            steps, index = divmod(steps, len(keys))
            inner = node[keys[index]]
            if not isinstance(inner, dict | list) or not inner or (steps & 1 and steps < 4):
                node[keys[index]] = copy.copy(_VALUES[data[place + 2] % len(_VALUES)])
                break
            node = inner
    return found


def main() -> None:
    """Fuzz one target; the process ends with a figure or at the first input that breaks it."""
    from fcos_lib.options.option import path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--found", type=path, default=None, help="where new inputs are kept between runs")
    args = parser.parse_args()
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"  # in memory: a million small files
    _folder()
    child = os.fork()
    if child:  # atheris ends its process without Python, so another one clears up
        sys.exit(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    import atheris
    import numpy  # noqa: F401 - not instrumented

    with atheris.instrument_imports(include=["fcos_lib"]):
        for seed in sorted((CORPUS / args.target).iterdir()):
            TARGETS[args.target](seed.read_bytes())  # imports what the target needs
    found = args.found or _folder() / "found"
    found.mkdir(parents=True, exist_ok=True)
    folders = [str(found), str(CORPUS / args.target)]
    limits = [f"-runs={args.runs}", "-max_len=4096", "-timeout=10", "-rss_limit_mb=3000", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={found}/", *folders], TARGETS[args.target])
    print(f"{args.target}: {time.strftime('%H:%M:%S')}", file=sys.stderr)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
