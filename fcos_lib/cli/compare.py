"""The verb `compare`: by how much one COCO result file is better than another on the same pictures, as text and as a page."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.cli.evaluate import FORMAT, Side, interval_of, print_document, side_of, truth_facts
from fcos_lib.cli.results import diff
from fcos_lib.contract import SHAPES
from fcos_lib.diagnosis.error_types import error_types
from fcos_lib.errors import UsageError, refusal_as
from fcos_lib.evidence.difference_words import comparison
from fcos_lib.evidence.page import MOST_BYTES, render
from fcos_lib.evidence.schema import SCHEMA_VERSION
from fcos_lib.files import open_plain, printable, write_whole
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import Outcome, Verdict, decide
from fcos_lib.measure.coco.contributions import Contributions, contributions
from fcos_lib.measure.coco.matching import Matches
from fcos_lib.measure.coco.metrics import TWELVE, averages
from fcos_lib.measure.coco.paired import PairedDifference, difference_of
from fcos_lib.measure.coco.rows import Rows
from fcos_lib.measure.coco.truth import AnnotationFile, read_annotation_file
from fcos_lib.measure.detections.shown import classes, precision_recall
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections

STATUS = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.NO_VERDICT: 7}
"""Exit statuses, as of all gates."""
DECIDING = 10
"""Pictures that are listed."""


def compare(args: Namespace) -> int:
    """Print B minus A; the exit status is that of `--min-delta`, or of `diff` for two stored runs."""
    stored = [_is_stored_run(path) for path in (args.before, args.after)]
    if all(stored):
        _refuse_options(args)
        return diff(Namespace(before=args.before, after=args.after, json=args.format == "json"))
    if any(stored):
        run, result_file = (args.before, args.after) if stored[0] else (args.after, args.before)
        raise UsageError(
            f"{run} is an object and {result_file} a list",
            "pass two COCO result files, or the results.json of two runs",
        )
    if args.annotations is None:
        raise UsageError("two COCO result files need --annotations", "pass the annotation file of their pictures")
    if args.page is not None and args.page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{args.page} is no .html", "name a file that a browser opens")
    annotations = read_annotation_file(args.annotations)
    first, second = (side_of(path, annotations, args) for path in (args.before, args.after))
    paired = difference_of(first.resampled, second.resampled, args.seed, annotations.truth.category_ids)
    verdict = _verdict(args, paired, len(first.rows) + len(second.rows))
    document = _document(args, annotations, (first, second), paired)
    document["verdict"] = verdict.as_dict() if args.min_delta is not None else None
    print_document(args, document, comparison(document))
    if args.page is not None:
        page = render(_page_document(document, verdict, paired, [first.resampled.matches, second.resampled.matches]))
        if len(page.encode()) > MOST_BYTES:
            raise UsageError(f"the page would have more than {MOST_BYTES >> 20} MiB", "use --format markdown")
        write_whole(args.page, page.encode())
    return STATUS[verdict.outcome] if args.min_delta is not None else 0


def _is_stored_run(path: Path) -> bool:
    """True if the file holds an object, as a results.json does, and False for a list; `UsageError` if it cannot be read."""
    advice = "pass a COCO result file, or the results.json of a run"
    with refusal_as(UsageError, f"{path} cannot be read", advice), open_plain(path) as file:
        return file.read(4096).lstrip()[:1] == b"{"


def _refuse_options(args: Namespace) -> None:
    """`UsageError` for what is about result files alone, beside two stored runs."""
    given = {"--annotations": args.annotations, "--min-delta": args.min_delta, "--page": args.page}
    names = [name for name, value in given.items() if value is not None]
    if names or args.format == "markdown":
        raise UsageError(
            f"{', '.join(names) or '--format markdown'} cannot be used with stored runs",
            "the runs were judged by their own limits: leave it out, or use the verbs judge, summary and page",
        )


def _verdict(args: Namespace, paired: PairedDifference, detections: int) -> Verdict:
    """By the rule of all gates: PASS if all of the interval is within the limit, FAIL if nothing of it is.

    Two files without any detection agree, and that says nothing.
    """
    limit = None
    if args.min_delta is not None:
        limit = Limit("--min-delta", args.min_delta, True, "AP", "the command line", derived=True)
    measured = paired.measurement("")
    measured = measured if detections else replace(measured, n=0)
    return decide("accuracy", args.after.name, measured, limit, stand_in=False)


def _document(
    args: Namespace, annotations: AnnotationFile, sides: tuple[Side, Side], paired: PairedDifference
) -> dict[str, Any]:
    """All that is printed, JSON-ready."""
    matches = [side.resampled.matches for side in sides]
    per_class = [averages(side).per_class[:, 0].tolist() for side in matches]
    by_name = dict(zip(annotations.truth.names, zip(*per_class, strict=True), strict=True))
    numbers = {name: (paired.reference[name], paired.candidate[name]) for name in TWELVE}
    among = len(paired.per_class)
    return {
        "format": FORMAT,
        "a": sides[0].about(annotations),
        "b": sides[1].about(annotations),
        "annotations": truth_facts(annotations),
        "interval": interval_of(args),
        "numbers": {
            name: {"a": numbers[name][0], "b": numbers[name][1], **asdict(change)} for name, change in paired.numbers.items()
        },
        "per_class": {
            name: {
                "a": by_name[name][0], "b": by_name[name][1], **asdict(change),
                "certain": max(change.certain(1, among), change.certain(-1, among)),
            }
            for name, change in paired.per_class.items()
        },
        "pictures": _pictures(annotations, contributions(*matches)),
        "error_types": _error_types(annotations, sides),
    }  # fmt: skip


def _pictures(annotations: AnnotationFile, contribution: Contributions) -> dict[str, Any]:
    """How many are better and worse, and those that decide."""
    deciding = [
        {
            "id": int(annotations.truth.picture_ids[index]),
            "file_name": annotations.file_names[int(annotations.truth.picture_ids[index])],
            "share": float(contribution.shares[index]),
            "right": contribution.right[:, index].tolist(),
            "wrong": contribution.wrong[:, index].tolist(),
        }
        for index in contribution.deciding(DECIDING)
    ]
    return {
        "count": len(contribution.shares), "better": contribution.better, "worse": contribution.worse, "unmoved": len(contribution.shares) - contribution.better - contribution.worse,
        "deciding": deciding,
    }  # fmt: skip


def _error_types(annotations: AnnotationFile, sides: tuple[Side, Side]) -> dict[str, Any]:
    """What each kind of mistake costs on either side, as AP50 that mending it would gain."""
    truth = annotations.truth
    contract = replace(SHAPES, name="the annotation file", classes=truth.names)
    pictures = [Picture(number, Path(), 1, 1) for number in truth.picture_ids.tolist()]
    kinds = [
        error_types(truth, contract, _by_picture(truth.picture_ids.tolist(), side.rows), pictures) for side in sides
    ]
    return {name: {"a": kinds[0].lost[name], "b": kinds[1].lost[name]} for name in kinds[0].lost}


def _by_picture(picture_ids: list[int], rows: Rows) -> Mapping[int, Detections]:
    order = np.argsort(rows.pictures, kind="stable")
    corners = np.concatenate([rows.boxes[:, :2], rows.boxes[:, :2] + rows.boxes[:, 2:]], axis=1).astype(np.float32)
    ends = np.searchsorted(rows.pictures[order], np.arange(len(picture_ids) + 1))
    parts = [order[low:high] for low, high in pairwise(ends.tolist())]
    return {
        number: Detections(corners[part], rows.scores[part].astype(np.float32), rows.categories[part])
        for number, part in zip(picture_ids, parts, strict=True)
    }


def _page_document(
    document: Mapping[str, Any], verdict: Verdict, paired: PairedDifference, matches: Sequence[Matches]
) -> dict[str, Any]:
    """A run as the evidence page knows them, of which only accuracy was measured."""
    kinds = document["error_types"]
    evidence = {
        "classes": classes(paired, *matches),
        "deciding": document["pictures"],
        "precision_recall": precision_recall(*matches),
        "error_types": {
            side: {name: kind[letter] for name, kind in kinds.items()} for side, letter in (("reference", "a"), ("candidate", "b"))
        },
    }  # fmt: skip
    facts = [(what, printable(str(document[key]["file"]))) for what, key in (("reference (A)", "a"), ("candidate (B)", "b"), ("annotations", "annotations"))]  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "about": "COCO results: B against A",
            "facts": facts,
            "started_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "exit_status": STATUS[verdict.outcome],
        },
        "environment": {"device": None},
        "artifacts": [],
        "verdicts": [verdict.as_dict()],
        "unjudged": [],
        "gates": [],
        "evidence": [{"kind": kind, "subject": verdict.subject, "data": data} for kind, data in evidence.items()],
    }
