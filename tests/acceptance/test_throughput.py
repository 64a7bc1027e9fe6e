"""Promise: images/s per batch size are as published and have not fallen, measured alone on real pictures."""

from dataclasses import asdict, replace

import pytest

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.judge.champion import champion_bounds, enough, judge_champion
from fcos_lib.judge.limits import all_limits
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


def test_throughput_is_as_published(
    benchmark,
    candidate,
    contract,
    candidate_sample,
    reference_sample,
    timed_batches,
    om_model,
    batch_size,
    subject,
    device,
    device_facts,
    nothing_published,
    throughput_run,
    rate_of,
    judge,
):
    """Pure inference in the recipe's sense, calls with copies, and the stream; the timed outputs are right ones."""
    rounds = STAND_IN_ROUNDS if device.stand_in else ROUNDS
    turn, counted = iter(range(rounds)), CountedSession(candidate)

    def next_batch():
        return (timed_batches[next(turn) % len(timed_batches)][0],), {}

    candidate.run(timed_batches[0][0])
    candidate.reset_timings()
    before = device_facts()
    outputs = benchmark.pedantic(counted.run, setup=next_batch, rounds=rounds, iterations=1, warmup_rounds=0)
    calls = counted.calls
    if len(calls) != rounds:
        pytest.fail(f"{len(calls)} rounds were timed, not {rounds}: is --benchmark-disable set?", pytrace=False)
    compute_ms = candidate.compute_ms()
    if len(compute_ms) != rounds:
        pytest.fail(f"the runtime timed {len(compute_ms)} runs, not the {rounds} rounds of this test", pytrace=False)
    facts = {"before": asdict(before), "after": asdict(device_facts())}
    pure = images_per_second(batch_size, compute_ms)
    pure = replace(pure, details=pure.details | facts)
    copies = images_per_second_with_copies(batch_size, calls)
    pictures = [candidate_sample.pictures[slot] for _, slots in timed_batches for slot in slots]
    groups = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
    streaming = CountedSession(candidate)
    with Feed((groups[turn % len(groups)] for turn in range(rounds)), contract, batch_size, candidate.layout) as feed:
        streamed = images_per_second_streamed(streaming, feed)
    slots = timed_batches[(rounds - 1) % len(timed_batches)][1]
    while_timed = explain(
        [reference_sample.detections[slot] for slot in slots],
        [outputs.detections(slot) for slot in range(batch_size)],
        [candidate_sample.pictures[slot].path.name for slot in slots],
        contract,
        lambda place: (reference_sample.boxes[slots[place]], reference_sample.scores[slots[place]]),
    ).measurements("while timed", ("throughput.unexplained", "throughput.explained"))
    names = (("pure", pure), ("end to end", copies), ("stream", streamed))
    throughput_run.add(benchmark, *(rate_of(timed, measured) for timed, measured in names))
    published = ("published.slower", "published.faster")
    held = () if nothing_published else tuple(pure.for_gate(key) for key in published)
    absent = dict.fromkeys(published, does_not_apply(nothing_published))
    if device.stand_in:
        absent["throughput.busy_least"] = does_not_apply("the emulator may compute for longer than the rate it plays")
    judge(
        subject,
        *(held or (pure,)),
        copies,
        streamed,
        *_held_to_the_clock(dict(names).values(), compute_ms, calls, streaming.calls, stand_in=device.stand_in),
        *while_timed,
        stand_in=device.stand_in,
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


def test_throughput_has_not_fallen(
    candidate,
    contract,
    champion,
    timed_batches,
    om_model,
    batch_size,
    subject,
    held_device,
    device_facts,
    throughput_run,
    baseline_needed,
    judge,
):
    """In turns with the champion on the same device; without a champion, beside the accepted runs of the same fingerprint."""
    if champion:
        bounds, plan = champion_bounds(all_limits()), STAND_IN if held_device.stand_in else HARDWARE
        inputs = [tensor for tensor, _ in timed_batches]
        chosen = (champion.om, contract, batch_size, held_device.device_id, candidate.layout)
        with OmSession(*chosen) as old, OmSession(*chosen) as twin:
            runners = [timed_runner(session, inputs) for session in (old, candidate, twin)]
            rounds = take_turns(runners, enough(bounds, plan), plan, facts=device_facts)
        measured, accepted = judge_champion(rounds, bounds).measurements(), 1
        throughput_run.against_champion[batch_size] = measured[0]
        absent = dict.fromkeys(HISTORY, does_not_apply("a champion was accepted, and judges"))
    else:
        mine = [one for one in throughput_run.compare(False) if one.series.batch_size == batch_size and one.new]
        measured = [one.judged() for one in mine]
        absent = dict.fromkeys(CHAMPION, does_not_apply("no champion was accepted"))
        accepted = sum(one.old is not None for one in mine)
        if not accepted:
            why = mine[0].reason if mine else "this run has timed nothing at this batch size"
            measured = [Measurement("accepted throughput", 0.0, "rates", len(mine), why, gate="history.accepted")]
            absent |= dict.fromkeys(HISTORY, blocked("no run was accepted: python -m fcos_lib history accept RUN"))
    absent["history.baseline"] = does_not_apply("--require-baseline was not given")
    judge(subject, *measured, *baseline_needed(accepted), stand_in=held_device.stand_in, absent=absent)


@pytest.mark.at_the_end
def test_every_accepted_series_was_measured(throughput_run, device, judge):
    """What the baseline has and this run lacks was renamed or lost, and is a failure."""
    compared = throughput_run.compare(False)
    lost = [one for one in compared if one.new is None]
    where = "; ".join(f"{one.series.label}: {one.reason}" for one in lost)
    measured = Measurement("lost series", float(len(lost)), "series", len(compared), where, gate="throughput.lost")
    judge("all", measured, stand_in=device.stand_in)
