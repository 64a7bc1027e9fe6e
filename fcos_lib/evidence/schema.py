"""The schema of `results.json`, as the types that a file is held to; results.schema.json is the same for other tools.

What a gate, a limit or the run itself may say is listed whole, since a key that is misspelt there could hide a red gate; the
other objects may have further keys.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fcos_lib.judge.limits import Limit
from fcos_lib.judge.roll_call import Entry
from fcos_lib.judge.verdict import Outcome
from fcos_lib.records import says

SCHEMA_VERSION = 3
"""Raised when a key changes its name or its meaning, so that no file of another release is misread."""


Count = Annotated[int, Meta(ge=0)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
PictureId = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,18})$", max_length=19)]


class Device(Struct):
    """The device that the candidate ran on."""

    stand_in: Annotated[bool, says("True for the emulator: nothing measured on it says anything about hardware.")]
    device_id: int = 0
    name: str | None = None
    soc_version: str = ""
    health: str | None = None
    cann_version: str = ""
    driver_version: str | None = None
    firmware_version: str | None = None


class Environment(Struct):
    """On what it ran."""

    python: str = ""
    platform: str = ""
    machine: str = ""
    packages: Annotated[dict[str, str | None], says("Versions by name; null: not installed.")] = {}
    device: Annotated[Device | None, says("Null if no gate needed one.")] = None
    sources: Annotated[
        Sha256 | None, says("Of the checkout that measured and judged; null: an earlier release did not note it.")
    ] = None
    lock: Annotated[Sha256 | None, says("Of requirements.lock; null: there was none.")] = None


class Settings(Struct):
    """Every option as it was resolved, by its name with underscores; paths are absolute."""

    npu: Literal["auto", "emulated", "required"] = "auto"
    device_id: Annotated[list[Count], says("Empty: all of one kind.")] = []
    dataset: str = ""
    annotations_sha256: Annotated[
        str | None, says("Of the dataset's annotation file; null if it could not be read.")
    ] = None
    category: Annotated[list[str], says("`CLASS=NAME`: which category of the dataset is which class.")] = []
    checkpoint: str | None = None
    contract: Annotated[
        str | None, says("As it was named, or the path of its file; null: that of the dataset and the checkpoint.")
    ] = None
    pictures: Annotated[int | None, says("How many of the dataset's; null: all.")] = None
    reference: Annotated[bool, says("Whether the reference sees every picture of a large dataset.")] = False
    batch_sizes: list[Annotated[int, Meta(ge=1)]] = []
    artifacts: str = ""
    onnx: str | None = None
    om: str | None = None
    references: str | None = None
    fresh: bool = False
    cluster: Annotated[str | None, says("`auto`, `local` or HOST:PORT; null: this process alone.")] = None
    cluster_mixed: bool = False
    baseline: str | None = None
    require_baseline: bool = False
    build_only: bool = False
    golden_only: bool = False
    soc_version: str = ""
    aipp: bool = False
    dynamic_batch: bool = False
    precision_mode: str = ""
    op_select_implmode: str = ""
    atc_option: list[str] = []
    atc_time_limit: Annotated[int, says("Minutes.")] = 0
    run_time_limit: Annotated[int, says("Seconds.")] = 0
    no_explain: bool = False
    require: list[str] = []


class Run(Struct, forbid_unknown_fields=True):
    """The run as a whole."""

    command: Annotated[list[str], says("As it was typed, word by word.")] = []
    options: Annotated[
        str, says("Those that differ from their defaults: what to add to a test's id to run it again.")
    ] = ""
    settings: Settings | None = None
    exit_status: Annotated[int, says("0 green, 1 FAIL, 7 NO VERDICT, 8 INFRA, others are pytest's own.")] = 0
    started_at: Annotated[str, says("UTC, YYYY-MM-DDThh:mm:ssZ.")] = ""
    seconds: Annotated[float, Meta(ge=0)] = 0
    gates: Annotated[Count, says("How many were started or skipped.")] = 0
    gates_not_run: Annotated[Count, says("How many of them neither judged nor failed.")] = 0
    require: Annotated[list[str], says("Promises of which every gate had to judge (--require).")] = []
    unanswered: Annotated[
        Count,
        says("Gates that are missing, or were required and did not judge: any makes the run NO VERDICT."),
    ] = 0
    other_failures: Annotated[Count, says("Failed tests that are no gates, and files that could not be collected.")] = 0
    pytest_status: Annotated[int, says("What pytest itself made of the run.")] = 0


class ArtifactRecord(Struct):
    """What was tested, by content."""

    kind: Annotated[str, says("Such as `onnx` or `om`.")]
    key: str
    files: Annotated[dict[str, str], says("SHA-256 by file name.")]
    provenance: Annotated[dict[str, Any], says("What it was made from.")]
    built: Annotated[bool, says("False if it was there already, or came from elsewhere.")] = True


class MeasurementRecord(Struct, forbid_unknown_fields=True):
    """One number."""

    name: str
    value: Annotated[float | Literal["nan", "inf", "-inf"], says("JSON has no NaN and no infinity; they are text.")]
    unit: str
    n: Annotated[Count, says("Samples behind it; 0: nothing was measured.")]
    where: Annotated[str, says("The worst or deciding sample, in words.")] = ""
    details: dict[str, Any] = {}
    interval: Annotated[
        tuple[float, float] | None, says("Where the value may lie; absent if chance has no part in it.")
    ] = None


class VerdictRecord(Struct, forbid_unknown_fields=True):
    """A measurement with its limit and its verdict."""

    promise: Annotated[str, says("contract, cost, consistency, accuracy or throughput.")]
    subject: Annotated[str, says("`reference`, or the OM: `batch8`, `batch8-aipp`, `batch8-dynamic`.")]
    outcome: Outcome
    measurement: MeasurementRecord
    limit: Limit | None
    stand_in: Annotated[bool, says("True if the emulator had any part in it.")]
    test: Annotated[str, says("pytest's id of the test that asked.")] = ""
    gate: Annotated[str, says("Promise, subject and number in one.")] = ""
    key: Annotated[str, says("Of the gate in the catalogue.")] = ""
    lacks: Annotated[str, says("The limit that it needs and limits.toml does not have; empty: none.")] = ""


class UnjudgedRecord(Struct, forbid_unknown_fields=True):
    """A gate that failed before it could judge."""

    test: str
    outcome: Outcome
    phase: Annotated[str, says("setup, call or teardown.")] = ""
    message: str = ""


class EvidenceRecord(Struct):
    """What a reader needs to see why."""

    kind: Annotated[
        str,
        says("Such as `pictures`, `scatter` or `ladder`; readers pass over kinds that they do not know."),
    ]
    subject: Annotated[str, says("As in verdicts, or `all`.")]
    data: dict[str, Any]


class DetectionDigests(Struct, forbid_unknown_fields=True):
    """What one OM found, picture by picture, as digests, and the root of the Merkle tree (RFC 6962) over them."""

    subject: Annotated[str, says("As in verdicts.")]
    root: Annotated[Sha256, says("Over a leaf for each picture, by ascending id: its id, its file and what was found.")]
    found: Annotated[dict[PictureId, Sha256], says("By picture id; fcos_lib/sharing/digests.py says of what.")]


class Results(Struct, forbid_unknown_fields=True):
    """What one run of the suite measured and decided."""

    schema_version: Literal[3]
    run: Run
    environment: Environment
    artifacts: list[ArtifactRecord]
    verdicts: list[VerdictRecord]
    unjudged: list[UnjudgedRecord]
    gates: Annotated[list[Entry], says("Empty until the run has ended.")]
    evidence: list[EvidenceRecord]
    detections: Annotated[
        list[DetectionDigests], says("Of every OM that saw all pictures; empty until the run has ended.")
    ] = []
    pictures: Annotated[dict[PictureId, Sha256], says("SHA-256 of the pictures' files, by picture id; likewise.")] = {}


def results_schema() -> dict[str, Any]:
    """The JSON Schema of `results.json`, of draft 2020-12: what results.schema.json holds."""
    (root,), parts = msgspec.json.schema_components([Results], ref_template="#/$defs/{name}")
    name = root["$ref"].rpartition("/")[2]
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:fcos_lib:results:{SCHEMA_VERSION}"}
    return {**draft, **parts.pop(name), "$defs": parts}
