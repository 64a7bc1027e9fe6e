"""Three sides take turns on one device, in an order that is drawn anew for each block."""

import math
from collections import Counter
from itertools import chain, count, islice, pairwise, repeat

import numpy as np
import pytest

from fcos_lib.errors import SessionError
from fcos_lib.measure.throughput.paired_rate import (
    HARDWARE,
    SIDES,
    STAND_IN,
    TURNS,
    DeviceFacts,
    Plan,
    drawn_orders,
    take_turns,
)

SHORT = Plan((8, 12, 18, 27), math.inf, warm_up=2)


def runners(calls, ms=(17.0, 17.0, 17.0)):
    """One per side, each with its own constant time; every call is noted."""

    def runner(side):
        def run():
            calls.append(side)
            return ms[side]

        return run

    return [runner(side) for side in range(3)]


def orders(seed, blocks=200):
    """The first blocks of a seed."""
    return list(islice(drawn_orders(seed), blocks))


@pytest.mark.parametrize("seed", range(5))
def test_every_side_has_the_same_mean_position_in_a_block(seed):
    """So that a clock which drifts evenly meets all of them equally."""
    for order in orders(seed):
        positions = [np.flatnonzero(np.equal(order, side)) for side in range(len(SIDES))]
        assert {len(some) for some in positions} == {TURNS}, order
        assert {some.mean() for some in positions} == {4.0}, order


@pytest.mark.parametrize("seed", range(5))
def test_nobody_follows_itself_not_even_across_blocks(seed):
    """A second round in a row might find warm caches."""
    rounds = [side for order in orders(seed) for side in order]
    assert all(side != following for side, following in pairwise(rounds))


def test_all_six_orders_come_and_none_more_often():
    """A fixed order lets a period of nine rounds meet one side in every block: at 5 % of every 9th round, a third of all runs failed."""
    drawn = Counter(orders(3, 6000))
    assert len(drawn) == 6
    assert max(drawn.values()) < 1150, drawn
    assert min(drawn.values()) > 850, drawn
    assert {orders(seed, 1)[0] for seed in range(60)} == set(drawn), "a run does not start with each of them"


def test_every_place_of_a_block_is_everybodys():
    """What meets the k-th round of every block meets each side in a third of them, and each follows each as often."""
    drawn = np.array(orders(4, 6000))
    for place in range(drawn.shape[1]):
        shares = np.bincount(drawn[:, place], minlength=3) / len(drawn)
        assert shares == pytest.approx(1 / 3, abs=0.03), f"place {place}"
    follows = Counter(pairwise(drawn.ravel().tolist()))
    assert min(follows.values()) / max(follows.values()) > 0.95, follows


def test_the_order_is_the_seeds():
    """The same for the same seed, another one for another, and recorded with the rounds."""
    assert orders(1) == orders(1) != orders(2)
    run = take_turns(runners([]), lambda _: True, SHORT, seed=7)
    assert (run.seed, list(run.orders)) == (7, orders(7, 8))
    assert len({take_turns(runners([]), lambda _: True, SHORT).seed for _ in range(5)}) == 5, "a seed was not drawn"


def test_the_sides_run_in_order_after_their_warm_up():
    """Rounds that warm up are not among the times."""
    calls = []
    run = take_turns(runners(calls), lambda _: True, SHORT, seed=1)
    assert calls[:6] == [0, 0, 1, 1, 2, 2]
    assert tuple(calls[6:]) == sum(run.orders, ())
    assert run.compute_ms.shape == (SHORT.looks[0], len(SIDES), TURNS)
    assert run.plan is SHORT


def test_each_time_stands_with_its_side_in_its_turn():
    """Whatever the order, the k-th time of a side is that of its k-th round."""
    ticks = [count(start) for start in (0.5, 1000, 2000)]
    run = take_turns([lambda side=side: float(next(side)) for side in ticks], lambda _: True, SHORT)
    for side, start in enumerate((0.5, 1000, 2000)):
        rounds = run.compute_ms[:, side].ravel()
        assert rounds == pytest.approx(np.arange(start, start + 24) + SHORT.warm_up)


def test_it_is_asked_only_at_the_looks():
    """Looking more often would find something by chance."""
    asked = []
    run = take_turns(runners([]), lambda ms: asked.append(len(ms)), SHORT)
    assert tuple(asked) == SHORT.looks
    assert (run.stopped, len(run.compute_ms)) == ("blocks", SHORT.looks[-1])


def test_it_stops_when_decided():
    """No round more than needed."""
    run = take_turns(runners([]), lambda ms: len(ms) == SHORT.looks[1], SHORT)
    assert (run.stopped, len(run.compute_ms)) == ("decided", SHORT.looks[1])


def test_it_stops_when_time_is_up():
    """After a whole block, never inside one."""
    ticks = count(1000)
    run = take_turns(runners([]), lambda _: False, Plan((8,), seconds=3), clock=lambda: next(ticks))
    assert (run.stopped, len(run.compute_ms)) == ("time", 3)


def test_facts_are_taken_after_the_warm_up_and_at_the_end():
    """A device that warms up would otherwise look as if it had changed."""
    calls, seen = [], []

    def facts():
        seen.append(len(calls))
        return DeviceFacts(temperature_c=float(len(calls)))

    run = take_turns(runners(calls), lambda _: True, SHORT, facts=facts)
    assert seen == [6, len(calls)]
    assert (run.before.temperature_c, run.after.temperature_c) == (6.0, float(len(calls)))


@pytest.mark.parametrize("ms", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("before", [0, SHORT.warm_up + 4], ids=["warm-up", "a later block"])
def test_a_round_without_a_time_is_an_error(ms, before):
    """It names the side and what to look at, and nothing is computed from it."""
    times = chain(repeat(17.0, before), repeat(ms))
    sides = [lambda: 17.0, lambda: next(times), lambda: 17.0]
    with pytest.raises(SessionError) as raised:
        take_turns(sides, lambda _: True, SHORT)
    assert raised.value.found == f"a round of the challenger took {ms} ms"
    assert raised.value.advice == "check that the runtime's timings are on and were not reset"


def test_hardware_is_held_to_more_than_the_emulator():
    """Slow rounds that stayed unseen count on hardware only, where hundreds of rounds are affordable."""
    assert (HARDWARE.unseen, STAND_IN.unseen) == (True, False)
    rounds = HARDWARE.looks[1] * TURNS
    assert 0.98**rounds < 0.01 / len(HARDWARE.looks), (
        "2 % of slow rounds could stay unseen until the first look that may pass"
    )
    rounds = STAND_IN.looks[-1] * len(SIDES) * TURNS
    assert rounds < 250, f"the emulator is held to {rounds} rounds"
