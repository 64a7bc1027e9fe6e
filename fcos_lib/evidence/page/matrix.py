"""Which gate catches which seeded defect?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcos_lib.evidence.page.html import Markup, row, table, tag, term, together


def kill_matrix(data: Mapping[str, Any]) -> Markup:
    """A row for each defect, a column for each gate."""
    cases = data["cases"]
    gates = sorted({str(gate) for case in cases for gate in (*case["red"], *case["named"])})
    rows = []
    for case in cases:
        caught, named = set(map(str, case["red"])), set(map(str, case["named"]))
        cells = [
            tag("span", "●" if gate in caught else "○" if gate in named else "", class_="cell", role="img",
                aria_label="caught" if gate in caught else "expected, not caught" if gate in named else "no")
            if gate in caught | named else ""
            for gate in gates
        ]  # fmt: skip
        rows.append(
            row(
                together(str(case["name"]), tag("span", str(case["what"]), class_="what")),
                *cells,
                str(case["verdict"]),
                kind="control" if case["control"] else "defect",
            )
        )
    only = [
        (str(gate), ", ".join(map(str, ids)) or "nothing: another gate catches all of it")
        for gate, ids in data.get("only", {}).items()
    ]
    return together(
        tag("p", "● is a gate that went red, ○ one that was expected to and did not."),
        table("Defects and the gates that caught them", ("case", *gates, "verdict"), rows, "matrix"),
        tag("details", tag("summary", "What only one gate catches"), term(only), class_="quiet") if only else None,
    )  # fmt: skip
