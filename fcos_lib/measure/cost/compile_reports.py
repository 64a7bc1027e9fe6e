"""atc's reports of its work: the operators of an OM, and what was fused into them, as they come.

Fields are those of the ATC user guide; which attributes of an operator name its engine and its original operators is
read as in Huawei's msit (`model_evaluation`). Every reader raises `ValueError` in words for what it cannot read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NOT_RUN = frozenset({"Data", "Const", "Constant", "NetOutput"})
"""Operators of an OM that hold tensors and compute nothing."""
_ENGINE, _ORIGINALS = "_ge_attr_op_kernel_lib_name", "_datadump_original_op_names"
_READ_LIMIT = 512 << 20


@dataclass(frozen=True, slots=True)
class OmOperators:
    """The operators of an OM, over all of its graphs."""

    kinds: Counter[str]
    """How many there are of each type."""
    ai_cpu: Counter[str] | None
    """Those that an AI CPU runs; None if no operator names its engine."""
    fused: int
    """Operators that were made of several."""


def om_operators(path: Path) -> OmOperators:
    """The operators in an OM as JSON (`atc --mode=1`); those that only hold tensors are left out."""
    kinds: Counter[str] = Counter()
    ai_cpu: Counter[str] = Counter()
    fused = engines = 0
    for graph in _list(mapping(_json(path), "it").get("graph"), "'graph'"):
        for entry in _list(mapping(graph, "a graph").get("op", []), "'op'"):
            operator = mapping(entry, "an operator")
            kind = operator.get("type")
            if not isinstance(kind, str):
                raise ValueError(f"an operator has the type {kind!r:.40}")
            if kind in _NOT_RUN:
                continue
            kinds[kind] += 1
            values = dict(_attributes(operator))
            engine, originals = values.get(_ENGINE, {}).get("s"), values.get(_ORIGINALS, {}).get("list")
            if isinstance(engine, str):
                engines += 1
                ai_cpu[kind] += "aicpu" in engine.lower()  # aicpu_ascend_kernel and aicpu_tf_kernel
            names = originals.get("s") if isinstance(originals, dict) else None
            fused += isinstance(names, list) and len(names) > 1
    if not kinds:
        raise ValueError("it has no operators")
    return OmOperators(kinds, +ai_cpu if engines else None, fused)


def fusions(path: Path) -> Counter[str]:
    """How often each rule took effect, over all graphs and both kinds of fusion, from `fusion_result.json`."""
    rules: Counter[str] = Counter()
    for graph in mapping(_json(path), "it").values():
        for kind in ("graph_fusion", "ub_fusion"):
            for rule, times in mapping(mapping(graph, "a graph").get(kind, {}), kind).items():
                count = mapping(times, f"the rule {rule}").get("effect_times")
                if not isinstance(count, str) or not count.isdecimal() or len(count) > 9:
                    raise ValueError(f"the rule {rule[:80]} took effect {count!r:.40} times")
                rules[rule] += int(count)
    if not rules:
        raise ValueError("it names no rule")
    return rules


def onnx_operators(path: Path) -> Counter[str]:
    """How many operators of each type an ONNX has; its weights are not read from other files."""
    import onnx

    from fcos_lib.model.npu_operators import operator_counts

    try:
        counts = Counter(operator_counts(onnx.load(str(path), load_external_data=False)))
    except Exception as error:  # protobuf's DecodeError and more, for anything that is no ONNX
        raise ValueError("it is no ONNX model") from error
    if not counts:
        raise ValueError("it has no operators")
    return counts


def mapping(value: object, what: str) -> dict[str, Any]:
    """`value` as a JSON object; `ValueError` if it is none."""
    if not isinstance(value, dict):
        raise ValueError(f"{what[:80]} is {value!r:.40}, not an object")
    return value


def _attributes(operator: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for attribute in _list(operator.get("attr", []), "'attr'"):
        if isinstance(attribute, dict) and isinstance(attribute.get("value"), dict):
            yield str(attribute.get("key")), attribute["value"]


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is {value!r:.40}, not a list")
    return value


def _json(path: Path) -> object:
    try:
        if path.stat().st_size > _READ_LIMIT:
            raise ValueError(f"larger than {_READ_LIMIT >> 20} MiB")
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({str(error)[:120]})") from error
