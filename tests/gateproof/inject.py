"""Injection of a defect into a run of the suite: public functions are wrapped when their module is first imported.

Every wrapper computes what the function would have done and compares, so that a defect that changes nothing is found out:
the process leaves the file `reached-<pid>` in the trace folder when the function is called, `changed-<pid>` when a byte
of its result differs.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.gateproof.case import Injection


def install(name: str, trace: str) -> None:
    """Have this process play the case `name`, and leave traces in the folder `trace`."""
    from tests.gateproof.catalogue import case_called

    sys.meta_path.insert(0, _Finder(case_called(name).injections, Path(trace)))


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the others find a module, and wraps its functions as soon as it is there."""

    def __init__(self, injections: Iterable[Injection], trace: Path) -> None:
        self._wanted: dict[str, list[Injection]] = {}
        for injection in injections:
            self._wanted.setdefault(injection.target.partition(":")[0], []).append(injection)
        self._trace = trace

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a wanted module, with a loader that wraps."""
        if fullname not in self._wanted:
            return None
        specs = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec_or_none for spec_or_none in specs if spec_or_none), None)
        if spec and spec.loader:
            load: Any = spec.loader
            execute = load.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                for injection in self._wanted[fullname]:
                    wrap(module, injection, self._trace)

            load.exec_module = exec_module
        return spec


def wrap(module: ModuleType, injection: Injection, trace: Path) -> None:
    """Replace the target of an injection in its module by one that plays the defect."""
    *owners, name = injection.target.partition(":")[2].split(".")
    owner: Any = functools.reduce(getattr, owners, module)
    setattr(owner, name, _PLAYS[injection.kind](getattr(owner, name), injection.change, trace))


def _with_arguments(original: Callable[..., Any], change: Callable[..., Any], trace: Path) -> Callable[..., Any]:
    @functools.wraps(original)
    def played(*arguments: Any, **named: Any) -> Any:
        before = fingerprint([arguments, named])
        changed = change(*arguments, **named)
        arguments, named = changed if len(changed) == 2 and isinstance(changed[1], dict) else (changed, named)
        leave_trace(trace, before != fingerprint([arguments, named]))
        return original(*arguments, **named)

    return played


def _with_result(original: Callable[..., Any], change: Callable[..., Any], trace: Path) -> Callable[..., Any]:
    @functools.wraps(original)
    def played(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        before = fingerprint(result)
        result = change(result, *arguments, **named)
        leave_trace(trace, before != fingerprint(result))
        return result

    return played


def _with_function(original: Callable[..., Any], change: Callable[..., Any], trace: Path) -> Callable[..., Any]:
    @functools.wraps(original)
    def played(*arguments: Any, **named: Any) -> Any:
        # The truth works on copies of the arrays, since functions that are given `out` write into it.
        copies = [copy(value) if hasattr(value, "__array__") else value for value in arguments]
        truth = original(*copies, **named)
        result = change(original, *arguments, **named)
        leave_trace(trace, fingerprint([truth, copies]) != fingerprint([result, arguments]))
        return result

    return played


def _instead(original: Callable[..., Any], change: Callable[..., Any], trace: Path) -> Callable[..., Any]:
    @functools.wraps(original)
    def played(*arguments: Any, **named: Any) -> Any:
        called: list[bool] = []

        def noted(*arguments: Any, **named: Any) -> Any:
            called.append(True)
            return original(*arguments, **named)

        result = change(noted, *arguments, **named)
        leave_trace(trace, not called)  # it did without the original
        return result

    return played


def _delayed(original: Callable[..., Any], change: Callable[..., Any], trace: Path) -> Callable[..., Any]:
    @functools.wraps(original)
    def played(*arguments: Any, **named: Any) -> Any:
        seconds = change(*arguments, **named)
        time.sleep(seconds)  # this is the defect
        leave_trace(trace, seconds > 0)
        return original(*arguments, **named)

    return played


_PLAYS = {
    "arguments": _with_arguments,
    "result": _with_result,
    "function": _with_function,
    "instead": _instead,
    "delay": _delayed,
}


def fingerprint(value: Any) -> Any:
    """What can be compared: the bytes of arrays, models and files, the content of records and collections; else the type."""
    if hasattr(value, "tobytes"):
        return str(getattr(value, "dtype", "")), getattr(value, "shape", ()), value.tobytes()
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString()
    if isinstance(value, Path) and value.is_file():
        return value.read_bytes()
    if is_dataclass(value) and not isinstance(value, type):
        return [fingerprint(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, dict):
        return [(key, fingerprint(entry)) for key, entry in value.items()]
    if isinstance(value, list | tuple):
        return [fingerprint(entry) for entry in value]
    if value is None or isinstance(value, str | bytes | int | float | Path | Enum | range):
        return repr(value)
    return type(value).__qualname__


def leave_trace(folder: Path, changed: bool) -> None:
    """Note once per process that the function was called, and that it did something else."""
    for what in ["reached"] + ["changed"] * changed:
        path = folder / f"{what}-{os.getpid()}"
        if not path.exists():
            path.write_text(" ".join(sys.argv), encoding="utf-8")
