"""Faults of what is on the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.unit.faults.fault import Fault
from tests.unit.faults.stage import GATE, Said, Stage

STORE = """
from fcos_lib.store.artifacts import Store
def build(target):
    for number in range(8):
        (target / str(number)).write_bytes(b"x" * 50_000)
def get():
    return Store(artifacts).get("thing", {}, build).key
"""
JOURNAL = """
import numpy as np
from fcos_lib.stream.sessions import Detections
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker
pictures = [Picture(number, Path(f"{number}.jpg"), 64, 48) for number in range(400)]
one = Detections(np.ones((100, 4), np.float32), np.full(100, 0.5, np.float32), np.zeros(100, np.int64))
def record(most=400, annotations="one"):
    with Journal(folder / "journal", pictures, 4, {"annotations": annotations}) as journal:
        for group in journal.batches_left():
            if journal.recorded >= most:
                return f"recorded {journal.recorded}"
            journal.append({picture.id: one for picture in group}, Maker("host", 0, "0/0"))
        return f"merged {len(journal.merge())}, repeated {journal.repeated}"
"""


def _artifact(stage: Stage, kind: str = "om") -> Path:
    """The folder of an artifact, as a copy: the prepared ones are links."""
    (folder,) = (stage.artifacts / kind).glob("[!.]*")
    shutil.copytree(folder, stage.folder / "copy")
    shutil.rmtree(folder)
    shutil.move(stage.folder / "copy", folder)
    return folder


def _bit(stage: Stage) -> Said:
    path = _artifact(stage) / "model.om"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return stage.suite()


def _version(stage: Stage) -> Said:
    path = _artifact(stage) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))
    return stage.suite()


def _full_store(stage: Stage) -> Said:
    stage.small_disk(stage.artifacts)
    return stage.program(STORE + "judged(get)")


def _quota(stage: Stage) -> Said:
    return stage.program(STORE + "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\njudged(get)")


def _read_only(stage: Stage) -> Said:
    stage.small_disk(stage.artifacts, more=",ro")
    return stage.suite()


def _full_report(stage: Stage) -> Said:
    stage.small_disk(stage.artifacts / "results", "4k")
    return stage.suite()


def _full_junit(stage: Stage) -> Said:
    stage.small_disk(stage.folder / "junit", "4k")
    return stage.suite(*GATE, f"--junit-xml={stage.folder / 'junit' / 'junit.xml'}")


def _verdict_kept(stage: Stage, said: Said) -> None:
    assert [verdict["outcome"] for verdict in said.document["verdicts"]] == ["STAND-IN"]
    assert said.document["gates"], "the roll was not called"


def _full_journal(stage: Stage) -> Said:
    stage.small_disk(stage.folder / "journal")
    said = stage.program(JOURNAL + "judged(record)")
    assert not list((stage.folder / "journal").glob(".*")), "half a file is left"
    return said


def _full_canary(stage: Stage) -> Said:
    stage.small_disk(stage.artifacts / "canary", "4k")
    (stage.artifacts / "canary" / "else").write_bytes(b"x" * 4096)
    return stage.suite()


def _shard(change: Callable[[bytearray], bytes | bytearray]) -> Callable[[Stage], Said]:
    """The file of a shard is changed between a run and the one that continues it."""

    def play(stage: Stage) -> Said:
        stage.program(JOURNAL + "judged(lambda: record(100))")
        shard = max((stage.folder / "journal").glob("shard*"))
        shard.write_bytes(change(bytearray(shard.read_bytes())))
        return stage.program(JOURNAL + "judged(record)")

    return play


def _cut_off(content: bytearray) -> bytearray:
    return content[:-100]


def _bit_flipped(content: bytearray) -> bytearray:
    content[len(content) // 2] ^= 1
    return content


def _other_annotations(stage: Stage) -> Said:
    stage.program(JOURNAL + "judged(lambda: record(40))")
    return stage.program(JOURNAL + "judged(lambda: record(annotations='two'))")


def _builder_killed(stage: Stage) -> Said:
    run = stage.begin(STORE + "get.__globals__['build'] = lambda target: (build(target), time.sleep(60))\nget()".replace(
        "get.__globals__['build'] = lambda target: (build(target), time.sleep(60))",
        "whole = build\ndef build(target):\n    whole(target)\n    time.sleep(60)",
    ))  # fmt: skip
    run.until(lambda: list((stage.artifacts / "thing").glob(".*/7")))
    run.kill()
    run.ended()
    return stage.program(STORE + "judged(get)")


def _clock(stage: Stage) -> Said:
    plugin = "import time\n_real, _start = time.time, time.time()\ntime.time = lambda: 2 * _start - _real() - 1e6\n"
    (stage.folder / "backwards.py").write_text(plugin)
    return stage.suite(*GATE, "-p", "backwards", environment={"PYTHONPATH": str(stage.folder)})


def _descriptors(stage: Stage) -> Said:
    plugin = "import resource\ndef pytest_collection_finish(session):\n    resource.setrlimit(resource.RLIMIT_NOFILE, (22, 22))\n"
    (stage.folder / "few.py").write_text(plugin)
    return stage.suite(*GATE, "-p", "few", environment={"PYTHONPATH": str(stage.folder)})


def _memory(stage: Stage) -> Said:
    return stage.program(
        "from fcos_lib.contract import SHAPES\nfrom fcos_lib.stream.dataset import Picture\n"
        "from fcos_lib.stream.feed import Feed\n"
        "pictures = [Picture(number, Path(f'{number}.jpg'), 64, 48) for number in range(8)]\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))\n"
        "def feed():\n    with Feed([pictures], SHAPES, 512) as batches:\n        next(iter(batches))\n"
        "judged(feed)"
    )


def _no_thing(stage: Stage, said: Said) -> None:
    assert not list((stage.artifacts / "thing").glob("*")), "half an artifact is left"


FAULTS = (
    Fault("bit_flipped", "one bit of a stored OM is another", 0, ("artifacts: 1 built, 1 reused",), _bit,
          after="the OM is built again"),
    Fault("manifest_of_another_version", "an artifact's manifest is of another format", 0,
          ("artifacts: 1 built, 1 reused",), _version, after="the artifact is built again"),
    Fault("store_full", "the disk of the artifacts is full", 8, ("No space left on device", "check free space"),
          _full_store, after="nothing of the artifact is left", check=_no_thing),
    Fault("store_quota", "a file may not become so large", 8, ("File too large", "check free space"), _quota,
          after="nothing of the artifact is left", check=_no_thing),
    Fault("store_read_only", "the artifact folder cannot be written", 4, ("Read-only file system",),
          _read_only),
    Fault("builder_killed", "a process is killed (-9) while it builds an artifact", 0, (), _builder_killed,
          after="the next one clears up and builds it"),
    Fault("report_full", "there is no room for results.json", 8, ("details in not written",), _full_report,
          after="the verdicts are on the terminal"),
    Fault("junit_full", "there is no room for the JUnit file", 8,
          ("such as --junit-xml's, cannot be written ([Errno 28] No space left on device)",), _full_junit,
          after="the verdicts are on the terminal and in `results.json`", check=_verdict_kept),
    Fault("canary_full", "there is no room for what the canary found", 8, ("what the canary found cannot be kept",),
          _full_canary),
    Fault("journal_full", "the disk of a journal is full", 8, ("No space left on device", "what is in the journal is kept"),
          _full_journal, after="the file that did not fit is not there, not even in part"),
    Fault("journal_torn", "a file of a journal is cut off", 0, ("merged 400, repeated 1",), _shard(_cut_off),
          after="its pictures are run again, no others"),
    Fault("journal_damaged", "a bit in a file of a journal is another", 0, ("merged 400, repeated 1",), _shard(_bit_flipped),
          after="its pictures are run again, no others"),
    Fault("annotations_replaced", "the annotations are replaced between a run and the one that continues it", 8,
          ("it has results of another journal, so of another fingerprint",), _other_annotations),
    Fault("clock_backwards", "the clock runs backwards", 0, ("artifacts: 0 built, 2 reused",), _clock),
    Fault("out_of_descriptors", "the process may open no more files", 8, ("Too many open files",), _descriptors,
          again="green"),
    Fault("out_of_memory", "there is no memory to share with the processes that decode", 8,
          ("pictures cannot be had (Cannot allocate memory)", "smaller batch size"), _memory),
)  # fmt: skip
