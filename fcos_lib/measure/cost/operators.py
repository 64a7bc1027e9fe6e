"""The cost of an OM, whatever the clock says: size, operators, casts and bytes, and the difference from the champion's.

Figures come from the OM and the ONNX that atc was given, and from what atc documents of its own work: `fusion_result.json`
(ATC user guide, `--export_compile_stat`) and the OM as JSON (`atc --mode=1`). A figure whose source is missing or unreadable
is absent, never 0.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.measure import Measurement
from fcos_lib.measure.cost.compile_reports import fusions, mapping, om_operators, onnx_operators

OM_SIZE, BYTES, FUSIONS, ONNX_OPERATORS = "OM size", "bytes per picture", "fusions", "ONNX operators"
OM_OPERATORS, CASTS, TRANSDATA, AI_CPU = "OM operators", "Cast operators", "TransData operators", "AI CPU operators"
FIGURES = {
    OM_SIZE: "B",
    BYTES: "B",
    OM_OPERATORS: "operators",
    CASTS: "operators",
    TRANSDATA: "operators",
    AI_CPU: "operators",
    FUSIONS: "times",
    ONNX_OPERATORS: "operators",
}
"""Every figure and its unit."""
COMPARED = {
    OM_SIZE: "cost.om_size",
    BYTES: "cost.bytes_per_picture",
    OM_OPERATORS: "cost.om_operators",
    CASTS: "cost.casts",
    TRANSDATA: "cost.transdata",
    AI_CPU: "cost.ai_cpu",
}
"""What an OM has to pay for, with the gate of each. The other figures explain these."""
RECIPE = {
    "cann": "cann",
    "cann_version": "cann",
    "onnx": "onnx",
    "onnx_sha256": "onnx",
    "precision_mode": "precision_mode",
    "op_select_implmode": "op_select_implmode",
    "extra": "extra",
    "aipp": "aipp",
}
"""What the provenance of an OM that was built here or elsewhere says of its making, and what it is called here."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The figures of one OM."""

    figures: Mapping[str, Measurement]
    """By name, in the order of `FIGURES`; only those that are known."""
    absent: Mapping[str, str]
    """Why each of the others is not."""
    recipe: Mapping[str, Any]
    """How the OM was made, as far as its provenance says; JSON-ready."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `cost_of_dict` reads it."""
        kept = ("value", "n", "where", "details")
        return {
            "figures": {name: {key: asdict(figure)[key] for key in kept} for name, figure in self.figures.items()},
            "absent": dict(self.absent),
            "recipe": dict(self.recipe),
        }

    def recorded(self) -> Measurement:
        """The OM's size with all figures in its details, for a gate that has no champion to compare with."""
        return replace(self.figures[OM_SIZE], details={"cost": self.as_dict()}, gate="cost.recorded")


def om_cost(
    om: Path,
    onnx: Path,
    contract: ModelContract,
    layout: InputLayout,
    provenance: Mapping[str, Any],
    *,
    fusion_report: Path | None = None,
    graph: Path | None = None,
) -> Cost:
    """The cost of an OM of this contract and layout that was compiled from `onnx`.

    `fusion_report` is atc's `fusion_result.json`, `graph` the OM as JSON; None where there is none. With several batch
    sizes in one OM, its operators are those of all profiles. `UsageError` if there is no OM.
    """
    if not om.is_file() or not om.stat().st_size:
        raise UsageError(f"there is no OM at {om}", "pass the path of an .om file")
    size = om.stat().st_size
    figures = [Measurement(OM_SIZE, size, "B", 1, f"{om.name}: {size:,} B"), _bytes_per_picture(contract, layout)]
    absent: dict[str, str] = {}
    sources: tuple[tuple[str, Path | None, Callable[[Path], Iterator[Measurement]], tuple[str, ...]], ...] = (
        ("the OM as JSON (atc --mode=1)", graph, _of_om, (OM_OPERATORS, CASTS, TRANSDATA, AI_CPU)),
        ("atc's fusion_result.json", fusion_report, _of_fusions, (FUSIONS,)),
        ("the ONNX", onnx, _of_onnx, (ONNX_OPERATORS,)),
    )
    for source, path, figures_of, names in sources:
        reason = f"{source} is not there"
        if path is not None and path.is_file():
            try:
                figures += figures_of(path)
                reason = f"{source} does not say"
            except ValueError as error:
                reason = f"{source} cannot be read: {error}"
        absent |= dict.fromkeys(names, reason)
    known = {figure.name: figure for figure in figures}
    return Cost(
        {name: known[name] for name in FIGURES if name in known},
        {name: reason for name, reason in absent.items() if name not in known},
        {name: provenance[spelling] for spelling, name in RECIPE.items() if spelling in provenance},
    )


def against(challenger: Cost, champion: Cost) -> tuple[Measurement, ...]:
    """The figures of `COMPARED`, challenger minus champion: in % for bytes, otherwise in operators.

    With an equal recipe, any difference comes from the compiler; otherwise `where` names the fields that differ, another
    CANN among them, and the numbers stand: what is served costs what it costs. A figure that the champion has and the
    challenger lacks has n = 0; one that the champion lacks is left out.
    """
    recipe = recipe_differences(challenger.recipe, champion.recipe)
    made = f"; made differently: {'; '.join(recipe)}" if recipe else "; the recipe is the same"
    compared = []
    for name, gate in COMPARED.items():
        if name not in champion.figures:
            continue
        then, now = champion.figures[name], challenger.figures.get(name)
        title, unit = f"{name} against champion", "%" if then.unit == "B" else then.unit
        if now is None:
            reason = challenger.absent.get(name, "nobody counted")
            where = f"the champion has {then.value:,.0f}; here unknown: {reason}{made}"
            compared.append(Measurement(title, math.nan, unit, 0, where, gate=gate))
            continue
        change = now.value - then.value
        details: dict[str, Any] = {"challenger": now.value, "champion": then.value, "recipe": recipe}
        where = f"{now.value:,.0f} {now.unit}, the champion's {then.value:,.0f}"
        if name == OM_SIZE:
            details["cost"] = challenger.as_dict()
        if by_type := _changes(now, then):
            details["by type"] = by_type
            where += f" ({_listed(by_type)})"
        if name == OM_OPERATORS and (lost := _lost_fusions(challenger, champion)):
            details["fewer fusions"] = lost
            where += f"; fewer fusions: {_listed(lost)}"
        value = 100 * change / then.value if unit == "%" else change
        compared.append(Measurement(title, value, unit, now.n, where + made, details, gate=gate))
    return tuple(compared)


def recipe_differences(challenger: Mapping[str, Any], champion: Mapping[str, Any]) -> list[str]:
    """The fields that differ, in words: `cann 8.0.0 → 8.3.RC1`."""
    names = dict.fromkeys(RECIPE.values())
    pairs = ((name, champion.get(name, "unknown"), challenger.get(name, "unknown")) for name in names)
    return [f"{name} {_short(then)} → {_short(now)}" for name, then, now in pairs if then != now]


def cost_of_dict(data: object) -> Cost:
    """A cost from `Cost.as_dict`'s form; `ValueError` says what is wrong with it."""
    content = mapping(data, "the cost")
    stored, figures = mapping(content.get("figures"), "its figures"), {}
    for name, unit in FIGURES.items():
        if name not in stored:
            continue
        figure = mapping(stored[name], name)
        value, n = figure.get("value"), figure.get("n")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value!r:.40}")
        if type(n) is not int or n < 1 or (unit == "B" and value == 0):
            raise ValueError(f"{name} is {value!r:.40} of {n!r:.40}")
        details = mapping(figure.get("details", {}), f"the details of {name}")
        figures[name] = Measurement(name, value, unit, n, str(figure.get("where", ""))[:1000], details)
    if OM_SIZE not in figures:
        raise ValueError("it has no OM size")
    absent = {name: str(why)[:1000] for name, why in mapping(content.get("absent", {}), "what is absent").items()}
    return Cost(figures, absent, mapping(content.get("recipe", {}), "the recipe"))


def _bytes_per_picture(contract: ModelContract, layout: InputLayout) -> Measurement:
    """What goes to the device and comes back for one picture: the network input, labels as int64 and dets as float32."""
    given = math.prod(contract.input_shape(1, layout)) * np.dtype(layout.dtype).itemsize
    returned = contract.max_detections * (8 + 5 * 4)
    details = {"input": given, "outputs": returned, "layout": layout.value}
    return Measurement(
        BYTES, given + returned, "B", 1, f"{given:,} B of {layout.value} in, {returned:,} B out", details
    )


def _of_om(path: Path) -> Iterator[Measurement]:
    seen = om_operators(path)
    total = seen.kinds.total()
    yield _counted(OM_OPERATORS, seen.kinds, total, {"made of several": seen.fused})
    yield Measurement(CASTS, seen.kinds["Cast"], "operators", total)
    yield Measurement(TRANSDATA, seen.kinds["TransData"], "operators", total)
    if seen.ai_cpu is not None:
        yield _counted(AI_CPU, seen.ai_cpu, total)


def _of_fusions(path: Path) -> Iterator[Measurement]:
    rules = fusions(path)
    yield _counted(FUSIONS, rules, len(rules))


def _of_onnx(path: Path) -> Iterator[Measurement]:
    counts = onnx_operators(path)
    yield _counted(ONNX_OPERATORS, counts, counts.total())


def _counted(name: str, counts: Counter[str], n: int, more: Mapping[str, int] | None = None) -> Measurement:
    details = {"by type": dict(sorted(counts.items())), **(more or {})}
    return Measurement(name, counts.total(), FIGURES[name], n, "", details)


def _changes(now: Measurement, then: Measurement) -> dict[str, int]:
    """Types (or rules) that there are more or fewer of."""
    new, old = _types(now), _types(then)
    return {kind: new[kind] - old[kind] for kind in sorted({*new, *old}) if new[kind] != old[kind]}


def _types(counted: Measurement) -> Counter[str]:
    table = counted.details.get("by type")
    return Counter({kind: n for kind, n in table.items() if type(n) is int} if isinstance(table, dict) else {})


def _lost_fusions(challenger: Cost, champion: Cost) -> dict[str, int]:
    if FUSIONS not in challenger.figures or FUSIONS not in champion.figures:
        return {}
    changes = _changes(challenger.figures[FUSIONS], champion.figures[FUSIONS])
    return {rule: times for rule, times in changes.items() if times < 0}


def _listed(changes: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {times:+d}" for kind, times in changes.items())


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if 0 < len(text) <= 40 else f"'{text[:12]}'"
