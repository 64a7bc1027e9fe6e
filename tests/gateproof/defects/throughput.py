"""Defects that make a rate wrong, or worse. A champion was accepted, and the emulator's device has a known rate."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

from tests.gateproof.case import REFUSED, Case, Injection
from tests.gateproof.defects.device import OUTPUTS, run_before

RATE = "rate=500"
AGAINST, HISTORY = "throughput: rate against champion", "throughput: pure rate against history"
SLOW, COUNTED = "throughput: slow rounds against champion", "throughput: pictures of a rate not counted"
SESSION = "fcos_lib.ascend.om_session:OmSession"


def _times_per_picture(result: Any, session: Any) -> Any:
    return [value / session.batch for value in result]


def kept_timings(original: Any, session: Any) -> int:
    """Nothing is forgotten, so that the rounds that warm up count."""
    return 0


def cached(original: Any, session: Any, batch: Any) -> Any:
    """A run whose input was seen before is not run."""
    key = session.path, batch.tobytes()
    if key not in _CACHE:
        _CACHE[key] = original(session, batch)
    return _CACHE[key]


_CACHE: dict[Any, Any] = {}


def stutters(result: Any, session: Any) -> Any:
    """Every fourth run of the new OM is reported with twice its time."""
    if "champions" in session.path.parts:
        return result
    _RUNS[id(session)] = _RUNS.get(id(session), 0) + 1
    return [2 * value for value in result] if _RUNS[id(session)] % 4 == 0 else result


_RUNS: dict[int, int] = {}


def another_batch_size(batch: int, compute_ms: Any) -> Any:
    """The formula of the rate is given a picture too many."""
    return batch + 1, compute_ms


def slow_copies(session: Any, batch: Any) -> float:
    """A fifth of a second more for each run, outside of what the runtime times."""
    return 0.2


def eight_accepted_runs(child: Any) -> tuple[str, ...]:
    """Eight calm runs that were accepted, and no champion: one real run and seven copies whose rates vary."""
    storage = child.folder / "benchmarks"
    run = child.run("-k", "published", marks="throughput", scenario=f"{RATE},jitter=0.3")
    assert run.status == 0, run.output
    (path,) = storage.glob("0*.json")
    dice = random.Random(3)
    for number in range(2, 9):
        document = json.loads(path.read_text(encoding="utf-8"))
        for rate in [rate for one in document["benchmarks"] for rate in one["extra_info"]["fcos"]]:
            spread = (
                0.003 if rate["series"]["timed"] == "pure" else 0.1
            )  # the emulator really computes, as fast as it can
            rate["run"] += str(number)
            rate["images_per_second"] *= dice.gauss(1, spread)
        copy = storage / path.name.replace("0001", f"{number:04}", 1)
        copy.write_text(json.dumps(document), encoding="utf-8")
    child.verb(
        "history", "--storage", str(storage), "accept", *map(str, sorted(storage.glob("0*.json"))), "--why", "calm"
    )
    return ()


def slower(name: str, percent: float, *gates: str, words: str = "") -> Case:
    """A new OM that takes this much longer than the champion, on a device of a known rate."""
    what = f"the new OM is {percent:g} % slower than the champion"
    scenario = f"{RATE},jitter=0.3,om_slower={percent:g}"
    return Case(
        name, what, gates, words, marks="throughput", scenario=scenario, without=("om", "om-json"), champion=True
    )


CASES = (
    slower("slower_3", 3, AGAINST),
    slower("slower_8", 8, AGAINST),
    slower("faster_40", -40, AGAINST, words="too fast"),
    replace(
        slower("stutters", 0, SLOW), what="every fourth round of the new OM takes twice as long",
        injections=(Injection(f"{SESSION}.compute_ms", "result", stutters),),
    ),
    Case("batch_plus_one", "the rate is computed with a picture too many per batch", (COUNTED,), "15 claimed",
         (Injection("fcos_lib.measure.throughput.rates:images_per_second", "arguments", another_batch_size),), marks="throughput",
         scenario=RATE),
    Case("time_per_picture", "the runtime's times are taken for those of one picture", (HISTORY,), "too fast",
         (Injection(f"{SESSION}.compute_ms", "result", _times_per_picture),), marks="throughput",
         scenario=f"{RATE},jitter=0.3", arrange=eight_accepted_runs),
    Case("slow_copies", "every run takes a fifth of a second longer, and the runtime does not know",
         ("throughput: end to end rate against history", "throughput: stream rate against history"), "",
         (Injection(f"{SESSION}.run", "delay", slow_copies),), marks="throughput",
         scenario=f"{RATE},jitter=0.3", arrange=eight_accepted_runs),
    Case("warm_up_counted", "the rounds that warm up are timed as well", (REFUSED,), "the runtime timed 5 runs, not the 3",
         (Injection(f"{SESSION}.reset_timings", "instead", kept_timings),), marks="throughput", scenario=RATE),
    Case("results_cached", "a batch that was seen before is not run", (REFUSED,), "the runtime timed 2 runs, not the 3",
         (Injection(f"{SESSION}.run", "instead", cached),), marks="throughput", scenario=RATE),
    Case("run_before_while_timed", "each run returns the results of the run before it",
         ("throughput: unexplained differences while timed",), "", (Injection(OUTPUTS, "result", run_before()),),
         marks="throughput", scenario=RATE),
)  # fmt: skip
