"""A fault of the catalogue: what happens, and what the suite has to make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.faults.stage import Said, Stage

VERDICTS = {
    0: "none: the run is green",
    1: "FAIL",
    2: "interrupted (exit 2)",
    4: "refused (exit 4)",
    7: "NO VERDICT",
    8: "INFRA",
    -1: "killed (SIGHUP)",
    -2: "killed (SIGINT) while pytest reports the first",
    -9: "killed (SIGKILL)",
    -15: "killed (SIGTERM)",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    name: str
    what: str
    """What happens, for a reader of the table."""
    status: int
    """The exit status; for a program, that which the suite would have."""
    says: tuple[str, ...]
    """Words of the output, to the letter; the first is shown in the table."""
    play: Callable[[Stage], Said]
    """Has it happen; what came of it."""
    also: int | None = None
    """Another exit status that it may have, as timing will."""
    again: str = ""
    """`green`: the same run without the fault is green; `equal`: and goes on with the same numbers."""
    after: str = ""
    """What else is so afterwards, which `check` makes sure of."""
    check: Callable[[Stage, Said], object] | None = None
    """Asserts that."""
    without: tuple[str, ...] = ()
    """Kinds of artifacts that the stage lacks, so that they have to be built."""
