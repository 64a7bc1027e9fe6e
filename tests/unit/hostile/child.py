"""The reader of hostile files: one after the other, each in a process of its own with little memory and time; says what came of it.

stdin: a JSON list of [what reads it, path]; stdout: a JSON list of {"error", "found", "value", "seconds", "megabytes"} or
{"died"}. What takes time is importing, so that it is done once, and every reader is a fork.
"""

import json
import os
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy
import onnx
import onnxruntime
import torch

from fcos_lib.artifacts import PORTABLE
from fcos_lib.artifacts.champions import Place, champion_of
from fcos_lib.artifacts.from_onnx import foreign_onnx_artifact
from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.errors import FcosError
from fcos_lib.evidence.page import render
from fcos_lib.evidence.results import read_results
from fcos_lib.judge.accepted import read_accepted
from fcos_lib.judge.history import read_runs
from fcos_lib.judge.limits import all_limits
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.truth import read_annotation_file, read_truth
from fcos_lib.model.checkpoint import read_checkpoint
from fcos_lib.recipe.bins import list_bins, load_bin
from fcos_lib.recipe.result_folder import read_results as read_result_folder
from fcos_lib.sharing.bundle import read_bundle
from fcos_lib.sharing.checking import in_itself
from fcos_lib.sharing.envelope import read_statement
from fcos_lib.sharing.replay import replay_bundle
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import Picture, open_dataset, read_picture
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.reference_record import read_record
from fcos_lib.stream.sessions import OnnxSession

MEMORY, SECONDS = 3 << 30, 60
_LOADED = (cv2, numpy, onnx, onnxruntime, torch)


def dataset(path):
    """All of a COCO folder."""
    opened = open_dataset(path)
    read_truth(opened)
    return [list(read_picture(picture).shape) for picture in opened.pictures]


def checkpoint(path):
    """The weights of a `.pth`."""
    return sorted(read_checkpoint(path))


def foreign_onnx(path):
    """An ONNX from elsewhere as far as the reference runs it."""
    made = foreign_onnx_artifact(Store(path.parent / "store"), SHAPES, path)
    session = OnnxSession(made.path / PORTABLE, SHAPES, threads=1)
    try:
        return session.run(numpy.zeros(SHAPES.input_shape(1), numpy.float32)).dets.shape[1]
    except RuntimeError as error:  # onnxruntime's; the suite calls it a defect of the machine or the model, and goes on
        raise FcosError(str(error)) from error


def result_folder(path):
    """The results of the three pictures beside it."""
    return len(read_result_folder(path, open_dataset(path.parent), SHAPES).detections)


def bins(path):
    """A folder of network inputs."""
    out = numpy.empty(SHAPES.input_shape(1)[1:], numpy.float32)
    return [load_bin(file, out) or file.name for file in list_bins(path, SHAPES)]


def record(path):
    """A stored result of the reference."""
    try:
        return read_record(path, SHAPES) is not None
    except ValueError as error:  # what `references` counts as damaged and computes again
        raise FcosError(str(error)) from error


def journal(path):
    """A journal, as somebody would resume it."""
    with Journal(path, [Picture(1, Path("1.jpg"), 8, 8)], 1, {"a": 1}) as opened:
        return opened.recorded


def store(path):
    """An artifact that is there, or is built again."""
    return Store(path).get("om", {"a": 1}, lambda folder: (folder / "model.om").write_bytes(b"om")).built


def champion(path):
    """Who is in office."""
    return champion_of(path, Place("shapes", "Ascend310P3", (8,), InputLayout.FLOAT_NCHW, False)) is not None


def results(path):
    """A stored run, drawn."""
    return len(render(read_results(path))) > 0


def statement(path):
    """A statement, as far as it can be checked alone."""
    return len(list(in_itself(read_statement(path)[0])))


def bundle(path):
    """A bundle without its models, replayed."""
    return sum(bool(check.differs) for check in replay_bundle(read_bundle(path), None))


def accepted(path):
    """The throughput that somebody accepted."""
    return len(read_accepted(path).acceptances)


def runs(path):
    """Stored throughput."""
    return len(read_runs(path.parent))


def limits(path):
    """A file of limits."""
    return len(all_limits(path))


def result_rows(path):
    """A COCO result file of any detector, for the annotation file beside it."""
    return len(read_detections(path, read_annotation_file(path.with_name("instances.json")).truth))


def annotation_file(path):
    """An annotation file by itself."""
    return len(read_annotation_file(path).truth.boxes)


READERS = {reader.__name__: reader for reader in (
    dataset, checkpoint, foreign_onnx, result_folder, bins, record, journal, store, champion, results, statement, bundle, accepted, runs, limits,
    result_rows, annotation_file,
)}  # fmt: skip


def answer(reader, path):
    """What came of it: a value, or an error of ours, or what nobody should see."""
    try:
        return {"value": READERS[reader](Path(path)), "error": ""}
    except FcosError as error:
        return {"error": type(error).__name__, "found": error.found, "advice": error.advice}
    except BaseException as error:
        return {"error": "", "unexpected": f"{type(error).__name__}: {str(error)[:300]}"}


def guarded(reader, path):
    """`answer` of a fork that dies when it takes too much."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20,) * 2)
        signal.alarm(SECONDS)
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = answer(reader, path)
        said["seconds"] = time.monotonic() - started
        said["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        os.write(writing, json.dumps(said).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(said) if said else {"died": status, "error": ""}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(json.dumps([guarded(*job) for job in json.load(sys.stdin)]))
