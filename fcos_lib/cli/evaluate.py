"""The verb `evaluate`: the mAP of a result folder, judged by its limits; of a result file of any detector, the numbers alone."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.cli.shared import chosen_dataset
from fcos_lib.cli.terminal import say
from fcos_lib.errors import UsageError
from fcos_lib.evidence.difference_words import Compared, evaluation
from fcos_lib.evidence.page import MOST_BYTES
from fcos_lib.evidence.plain_text import aligned
from fcos_lib.files import one_line, printable, read_plain, sha256_of
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.verdict import Outcome, Verdict, judge_gate, paragraph
from fcos_lib.measure.coco.as_published import as_published
from fcos_lib.measure.coco.matching import match_rows
from fcos_lib.measure.coco.metrics import TWELVE
from fcos_lib.measure.coco.metrics import evaluate as coco_metrics
from fcos_lib.measure.coco.paired import CONFIDENCE, intervals_of
from fcos_lib.measure.coco.resampled import Resampled, resample_matches
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.rows import Rows
from fcos_lib.measure.coco.ruler import Readings, Ruler, numbers_of_files
from fcos_lib.measure.coco.truth import AnnotationFile, read_annotation_file, read_truth
from fcos_lib.options.option import typed_path
from fcos_lib.recipe.ais_bench import summary_path
from fcos_lib.recipe.result_folder import read_results
from fcos_lib.records import plain_json

_SUMMARY_LIMIT = 64 << 20
"""Bytes of a summary that is read."""
FORMAT = 1
"""Of what `--format json` prints of result files."""
ALLOWED = 1e-12
"""AP or AR between our numbers and pycocotools'."""


def evaluate(args: Namespace) -> int:
    """Print COCO's twelve numbers, mAP as published, and the verdicts; 1 unless every limit is held, NO VERDICT included.

    Of a result file of any detector: the numbers with intervals, and no verdicts.
    """
    if args.detections is not None:
        return _evaluate_detections(args)
    if args.dataset is None:
        raise UsageError("--results needs --dataset", "pass the COCO folder of the pictures that were inferred")
    if args.annotations is not None or args.ruler or args.format != "text":
        raise UsageError(
            "--annotations, --ruler and --format belong to --detections",
            "leave them out: --results is judged by --dataset, always with pycocotools beside",
        )
    dataset = chosen_dataset(args)
    contract = dataset.contract
    results = read_results(args.results, dataset, contract)
    stand_in, origin = _origin(args.results)
    print(f"results   {args.results}: {results.sentence()}")
    print(f"computed  {origin}")
    measured = coco_metrics(dataset, contract, results.detections)
    published = as_published(dataset, read_truth(dataset), contract, results.detections)
    numbers = measured.details["numbers"]
    for names in (list(numbers)[:6], list(numbers)[6:]):
        print("  ".join(f"{name:>5} {numbers[name]:6.3f}" for name in names))
    print(f"mAP as published, by the recipe's arithmetic: {published.value:.4f} ({published.where})")
    readings = Readings(Ruler(dataset.annotations, contract, dataset.naming.classes))
    readings.read_evaluation("of the results", measured, results.detections)
    verdicts: list[Verdict] = []
    for each in (readings.measurement("accuracy.ruler"), measured, published):
        if all(verdict.green for verdict in verdicts):  # nothing is judged by a ruler that is off
            subject = args.results.resolve().name
            verdicts.append(
                judge_gate(each, Scope(contract.name, like=contract.limits_of), subject, stand_in=stand_in is True)
            )
    again = [
        "python",
        "-m",
        "fcos_lib",
        "evaluate",
        "--results",
        typed_path(args.results),
        "--dataset",
        typed_path(args.dataset),
    ]
    again += [f"--contract={args.contract}"] * bool(args.contract) + [f"--category={pair}" for pair in args.category]
    judged = [verdict for verdict in verdicts if verdict.limit or verdict.lacks]
    for verdict in judged:
        say(paragraph(verdict, again=shlex.join(again)))
    if any(verdict.outcome is Outcome.PASS for verdict in judged[1:]) and stand_in is None:  # the ruler needs no NPU
        print("  counts    only if an NPU computed these files, which they do not say")
    return 0 if judged and all(verdict.green for verdict in judged) else 1


def _origin(folder: Path) -> tuple[bool | None, str]:
    """True if the emulator made the files, None if nobody knows, and what says so. Only `infer`'s summary tells."""
    path = summary_path(folder.resolve())
    try:
        if path.stat().st_size > _SUMMARY_LIMIT:
            return None, f"by an unknown device ({path.name} is too large to be read)"
        content = plain_json(read_plain(path, _SUMMARY_LIMIT))
    except FileNotFoundError:
        return None, "by an unknown device: the files do not say, and no summary is beside the folder"
    except (OSError, ValueError):
        return None, f"by an unknown device ({path.name} cannot be read)"
    stand_in = content.get("stand_in") if isinstance(content, dict) else None
    if stand_in is True:
        return True, f"by the emulator, says {path.name}: STAND-IN"
    if stand_in is False:
        return False, f"on an NPU, says {path.name}"
    return None, f"by an unknown device: {path.name} is not of fcos_lib's infer and does not say"


@dataclass(frozen=True, slots=True)
class Side:
    """One result file, read and resampled."""

    path: Path
    rows: Rows
    resampled: Resampled

    def about(self, annotations: AnnotationFile) -> dict[str, Any]:
        """What the file is, JSON-ready."""
        empty = len(annotations.truth.picture_ids) - len(np.unique(self.rows.pictures))
        return {"file": str(self.path), "sha256": sha256_of(self.path), "detections": len(self.rows), "empty_pictures": empty}  # fmt: skip


def _evaluate_detections(args: Namespace) -> int:
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
    side = side_of(args.detections, annotations, args)
    numbers, per_class = intervals_of(side.resampled)
    document: dict[str, Any] = {
        "format": FORMAT,
        "detections": side.about(annotations),
        "annotations": truth_facts(annotations),
        "numbers": {name: asdict(interval) for name, interval in numbers.items()},
        "per_class": {name: asdict(interval) for name, interval in per_class.items()},
        "interval": interval_of(args),
    }
    if args.ruler:
        theirs = numbers_of_files(annotations.path, side.path)
        ours = {name: numbers[name].value if name in numbers else -1.0 for name in TWELVE}
        document["pycocotools"] = theirs
        document["distance_from_pycocotools"] = max(abs(ours[name] - theirs[name]) for name in TWELVE)
        document["distance_allowed"] = ALLOWED
    print_document(args, document, evaluation(document))
    return int(document.get("distance_from_pycocotools", 0.0) > ALLOWED)


def side_of(path: Path, annotations: AnnotationFile, args: Namespace) -> Side:
    """A result file held against the annotations; errors as of `read_detections`."""
    rows = read_detections(path, annotations.truth)
    return Side(path, rows, resample_matches(match_rows(annotations.truth, rows), args.resamples, args.seed))


def truth_facts(annotations: AnnotationFile) -> dict[str, Any]:
    """What the annotation file is, JSON-ready."""
    truth = annotations.truth
    return {
        "file": str(annotations.path), "sha256": truth.annotations_sha256, "pictures": len(truth.picture_ids),
        "objects": len(truth.boxes), "categories": len(truth.names),
    }  # fmt: skip


def interval_of(args: Namespace) -> dict[str, Any]:
    """How the intervals are computed, JSON-ready."""
    return {"confidence": CONFIDENCE, "over": "pictures", "resamples": args.resamples, "seed": args.seed}


def print_document(args: Namespace, document: dict[str, Any], shown: Compared) -> None:
    """Print a document as `--format` says: as it is, or as `shown` in words."""
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
