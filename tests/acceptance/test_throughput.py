"""Promise: images/s per batch size are as published and have not fallen, measured alone on real pictures."""

from dataclasses import asdict, replace

import pytest

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.judge.champion import enough, judge_champion
from fcos_lib.judge.limits import all_limits
from fcos_lib.judge.rate_trust import champion_bounds
from fcos_lib.judge.roll_call import blocked, does_not_apply
from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.causes import explain
from fcos_lib.measure.throughput.paired_rate import HARDWARE, STAND_IN, take_turns
from fcos_lib.measure.throughput.rates import (
    CountedSession,
    busy_share,
    images_per_second,
    images_per_second_streamed,
    images_per_second_with_copies,
    timed_runner,
    unaccounted_pictures,
)
from fcos_lib.stream.feed import Feed

pytestmark = [pytest.mark.throughput, pytest.mark.usefixtures("alone")]

CHAMPION = ("champion.slower", "champion.slow_rounds")
HISTORY = ("history.pure", "history.end_to_end", "history.stream")
ROUNDS, STAND_IN_ROUNDS = 20, 3  # the recipe's --loop; the emulator's speed is nobody's promise


def test_throughput_is_as_published(benchmark, candidate, paired_sample, batch, timing, judge):
    """Pure inference in the recipe's sense, calls with copies, and the stream; the timed outputs are right ones."""
    stand_in = batch.device.stand_in
    rounds = STAND_IN_ROUNDS if stand_in else ROUNDS
    turn, counted = iter(range(rounds)), CountedSession(candidate)

    def next_batch():
        return (timing.batches[next(turn) % len(timing.batches)][0],), {}

    candidate.run(timing.batches[0][0])
    candidate.reset_timings()
    before = timing.facts()
    outputs = benchmark.pedantic(counted.run, setup=next_batch, rounds=rounds, iterations=1, warmup_rounds=0)
    calls = counted.calls
    if len(calls) != rounds:
        pytest.fail(f"{len(calls)} rounds were timed, not {rounds}: is --benchmark-disable set?", pytrace=False)
    compute_ms = candidate.compute_ms()
    if len(compute_ms) != rounds:
        pytest.fail(f"the runtime timed {len(compute_ms)} runs, not the {rounds} rounds of this test", pytrace=False)
    facts = {"before": asdict(before), "after": asdict(timing.facts())}
    pure = images_per_second(batch.size, compute_ms)
    pure = replace(pure, details=pure.details | facts)
    copies = images_per_second_with_copies(batch.size, calls)
    groups = [[paired_sample.pictures[index] for index in slots] for _, slots in timing.batches]
    streaming = CountedSession(candidate)
    with Feed((groups[turn % len(groups)] for turn in range(rounds)), batch.contract, batch.size, batch.layout) as feed:
        streamed = images_per_second_streamed(streaming, feed)
    slots = timing.batches[(rounds - 1) % len(timing.batches)][1]
    while_timed = explain(
        [paired_sample.reference.detections[index] for index in slots],
        [outputs.detections(slot) for slot in range(batch.size)],
        [paired_sample.names[index] for index in slots],
        batch.contract,
        lambda slot: paired_sample.reference.before_nms(slots[slot]),
    ).measurements("while timed", ("throughput.unexplained", "throughput.explained"))
    names = (("pure", pure), ("end to end", copies), ("stream", streamed))
    timing.run.add(benchmark, *(timing.rate(timed, measured) for timed, measured in names))
    published = ("published.slower", "published.faster")
    held = () if timing.nothing_published else tuple(pure.for_gate(key) for key in published)
    absent = dict.fromkeys(published, does_not_apply(timing.nothing_published))
    if stand_in:
        absent["throughput.busy_least"] = does_not_apply("the emulator may compute for longer than the rate it plays")
    judge(
        batch.subject,
        *(held or (pure,)),
        copies,
        streamed,
        *_held_to_the_clock(dict(names).values(), compute_ms, calls, streaming.calls, stand_in=stand_in),
        *while_timed,
        stand_in=stand_in,
        absent=absent,
    )


def _held_to_the_clock(rates, compute_ms, calls, streamed_calls, *, stand_in):
    """The rates, pure, with copies and of the stream, against the pictures that came back and the time of the calls."""
    pure, copies, streamed = rates
    passed = sum(call.ended - call.started for call in calls)
    yield unaccounted_pictures(
        (pure, calls, sum(compute_ms) / 1e3), (copies, calls, passed), (streamed, streamed_calls, None)
    )
    busy = busy_share(compute_ms, calls)
    yield busy.for_gate("throughput.busy_most")
    if not stand_in:
        yield busy.for_gate("throughput.busy_least")


def test_throughput_has_not_fallen(candidate, batch, timing, champion, baseline_needed, judge):
    """In turns with the champion on the same device; without a champion, beside the accepted runs of the same fingerprint."""
    if champion:
        bounds, plan = champion_bounds(all_limits()), STAND_IN if timing.device.stand_in else HARDWARE
        inputs = [tensor for tensor, _ in timing.batches]
        chosen = (champion.om, batch.contract, batch.size, timing.device.device_id, batch.layout)
        with OmSession(*chosen) as old, OmSession(*chosen) as twin:
            runners = [timed_runner(session, inputs) for session in (old, candidate, twin)]
            rounds = take_turns(runners, enough(bounds, plan), plan, facts=timing.facts)
        measured, accepted = judge_champion(rounds, bounds).measurements(), 1
        timing.run.against_champion[batch.size] = measured[0]
        absent = dict.fromkeys(HISTORY, does_not_apply("a champion was accepted, and judges"))
    else:
        compared = [rate for rate in timing.run.compare(False) if rate.series.batch_size == batch.size and rate.new]
        measured = [rate.judged() for rate in compared]
        absent = dict.fromkeys(CHAMPION, does_not_apply("no champion was accepted"))
        accepted = sum(rate.old is not None for rate in compared)
        if not accepted:
            why = compared[0].reason if compared else "this run has timed nothing at this batch size"
            measured = [Measurement("accepted throughput", 0.0, "rates", len(compared), why, gate="history.accepted")]
            absent |= dict.fromkeys(
                HISTORY, blocked("no run was accepted: python -m fcos_lib history accept RUN --why TEXT")
            )
    absent["history.baseline"] = does_not_apply("--require-baseline was not given")
    judge(batch.subject, *measured, *baseline_needed(accepted), stand_in=timing.device.stand_in, absent=absent)


@pytest.mark.at_the_end
def test_every_accepted_series_was_measured(throughput_run, device, judge):
    """What the baseline has and this run lacks was renamed or lost, and is a failure."""
    compared = throughput_run.compare(False)
    lost = [comparison for comparison in compared if comparison.new is None]
    where = "; ".join(f"{comparison.series.label}: {comparison.reason}" for comparison in lost)
    measured = Measurement("lost series", float(len(lost)), "series", len(compared), where, gate="throughput.lost")
    judge("all", measured, stand_in=device.stand_in)
