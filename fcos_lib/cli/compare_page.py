"""A comparison of two result files as the evidence page knows runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from fcos_lib.files import printable
from fcos_lib.judge.verdict import Outcome, Verdict
from fcos_lib.measure.coco.matching import Matches
from fcos_lib.measure.coco.metrics import averages
from fcos_lib.measure.coco.paired import PairedDifference
from fcos_lib.measure.detections.shown import classes, precision_at_recalls, recalls

STATUS = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.NO_VERDICT: 7}
"""Exit statuses, as of all gates."""


def page_document(
    document: Mapping[str, Any], verdict: Verdict, paired: PairedDifference, matches: Sequence[Matches]
) -> dict[str, Any]:
    """A run as the evidence page knows them, of which only accuracy was measured."""
    first, second = (averages(side).per_class[:, 0] for side in matches)
    curves = [[round(float(value), 5) for value in precision_at_recalls(side)] for side in matches]
    kinds = document["error_types"]
    evidence = {
        "classes": classes(paired, matches[0].truth, (first, second)),
        "deciding": document["pictures"],
        "precision_recall": {"recall": recalls(), "reference": curves[0], "candidate": curves[1]},
        "error_types": {
            side: {name: kind[letter] for name, kind in kinds.items()} for side, letter in (("reference", "a"), ("candidate", "b"))
        },
    }  # fmt: skip
    facts = [(what, printable(str(document[key]["file"]))) for what, key in (("reference (A)", "a"), ("candidate (B)", "b"), ("annotations", "annotations"))]  # fmt: skip
    return {
        "schema_version": 2,
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
