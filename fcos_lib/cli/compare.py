"""Results of any detector as COCO result files: `evaluate --detections` one of them, and `compare` two on the same pictures."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.cli.compare_page import STATUS, page_document
from fcos_lib.cli.results import diff
from fcos_lib.cli.terminal import say
from fcos_lib.contract import SHAPES
from fcos_lib.diagnosis.error_types import error_types
from fcos_lib.errors import UsageError, refusal_as
from fcos_lib.evidence.difference_words import Compared, comparison, evaluation
from fcos_lib.evidence.page import MOST_BYTES, render
from fcos_lib.evidence.plain_text import aligned
from fcos_lib.files import one_line, open_plain, printable, write_whole
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import Verdict, decide
from fcos_lib.measure.coco.annotation_file import AnnotationFile, read_annotation_file
from fcos_lib.measure.coco.contributions import Contributions, contributions
from fcos_lib.measure.coco.matching import match_rows
from fcos_lib.measure.coco.metrics import TWELVE, averages
from fcos_lib.measure.coco.paired import CONFIDENCE, PairedDifference, difference_of, intervals_of
from fcos_lib.measure.coco.resampled import Resampled, resample_matches
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.rows import Rows
from fcos_lib.measure.coco.ruler import numbers_of_files
from fcos_lib.store.artifacts import sha256_of
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections

FORMAT = 1
"""Of what `--format json` prints."""
DECIDING = 10
"""Pictures that are listed."""
ALLOWED = 1e-12
"""AP or AR between our numbers and pycocotools'."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One result file, read and resampled."""

    path: Path
    rows: Rows
    resampled: Resampled

    def about(self, annotations: AnnotationFile) -> dict[str, Any]:
        """What the file is, JSON-ready."""
        empty = len(annotations.truth.picture_ids) - len(np.unique(self.rows.pictures))
        return {"file": str(self.path), "sha256": sha256_of(self.path), "detections": len(self.rows), "empty_pictures": empty}  # fmt: skip


def evaluate_detections(args: Namespace) -> int:
    """Print the twelve numbers of a result file, each with its interval; 1 if pycocotools, when asked, has others."""
    if args.annotations is None:
        raise UsageError(
            "--detections needs --annotations", "pass the annotation file of the pictures that were detected in"
        )
    if args.dataset is not None or args.contract is not None:
        raise UsageError(
            "--dataset and --contract belong to --results",
            "leave them out: --detections is judged by --annotations alone, whatever its categories",
        )
    annotations = read_annotation_file(args.annotations)
    side = _side(args.detections, annotations, args)
    numbers, per_class = intervals_of(side.resampled)
    document: dict[str, Any] = {
        "format": FORMAT,
        "detections": side.about(annotations),
        "annotations": _about(annotations),
        "numbers": {name: asdict(interval) for name, interval in numbers.items()},
        "per_class": {name: asdict(interval) for name, interval in per_class.items()},
        "interval": _interval(args),
    }
    if args.ruler:
        theirs = numbers_of_files(annotations.path, side.path)
        ours = {name: numbers[name].value if name in numbers else -1.0 for name in TWELVE}
        document["pycocotools"] = theirs
        document["distance_from_pycocotools"] = max(abs(ours[name] - theirs[name]) for name in TWELVE)
        document["distance_allowed"] = ALLOWED
    _print(args, document, evaluation(document))
    return int(document.get("distance_from_pycocotools", 0.0) > ALLOWED)


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
    first, second = (_side(path, annotations, args) for path in (args.before, args.after))
    paired = difference_of(first.resampled, second.resampled, args.seed, annotations.truth.category_ids)
    verdict = _verdict(args, paired)
    document = _document(args, annotations, (first, second), paired)
    document["verdict"] = verdict.as_dict() if args.min_delta is not None else None
    _print(args, document, comparison(document))
    if args.page is not None:
        page = render(page_document(document, verdict, paired, [first.resampled.matches, second.resampled.matches]))
        if len(page.encode()) > MOST_BYTES:
            raise UsageError(f"the page would have more than {MOST_BYTES >> 20} MiB", "use --format markdown")
        write_whole(args.page, page.encode())
    return STATUS[verdict.outcome] if args.min_delta is not None else 0


def _side(path: Path, annotations: AnnotationFile, args: Namespace) -> _Side:
    rows = read_detections(path, annotations.truth)
    return _Side(path, rows, resample_matches(match_rows(annotations.truth, rows), args.resamples, args.seed))


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


def _about(annotations: AnnotationFile) -> dict[str, Any]:
    truth = annotations.truth
    return {
        "file": str(annotations.path), "sha256": truth.annotations_sha256, "pictures": len(truth.picture_ids),
        "objects": len(truth.boxes), "categories": len(truth.names),
    }  # fmt: skip


def _interval(args: Namespace) -> dict[str, Any]:
    return {"confidence": CONFIDENCE, "over": "pictures", "resamples": args.resamples, "seed": args.seed}


def _verdict(args: Namespace, paired: PairedDifference) -> Verdict:
    """By the rule of all gates: PASS if all of the interval is within the limit, FAIL if nothing of it is."""
    limit = None
    if args.min_delta is not None:
        limit = Limit("--min-delta", args.min_delta, True, "AP", "the command line", derived=True)
    return decide("accuracy", args.after.name, paired.measurement(""), limit, stand_in=False)


def _document(
    args: Namespace, annotations: AnnotationFile, sides: tuple[_Side, _Side], paired: PairedDifference
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
        "annotations": _about(annotations),
        "interval": _interval(args),
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


def _error_types(annotations: AnnotationFile, sides: tuple[_Side, _Side]) -> dict[str, Any]:
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


def _print(args: Namespace, document: dict[str, Any], shown: Compared) -> None:
    if args.format == "json":
        print(json.dumps(document, indent=1, allow_nan=False))
        return
    if args.format == "markdown":
        print(printable(shown.markdown(), MOST_BYTES))
        return
    lines = [*shown.heads, ""]
    for title, rows in shown.tables:
        lines += [title, *aligned([[one_line(cell) for cell in row] for row in rows], "  "), ""]
    say("\n".join([*lines, *shown.sentences]))
