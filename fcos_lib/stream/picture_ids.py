"""Counting pictures: whether each is there once, and how those that are not are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from fcos_lib.errors import FeedError


def refuse_lost(expected: Iterable[int], came: Collection[int]) -> None:
    """`FeedError` if a feed has ended and not every expected picture, by its id, came."""
    lost = [picture_id for picture_id in expected if picture_id not in came]
    if lost:
        raise FeedError(
            f"the feed ended without {len(lost)} of the pictures that it was given: {some(lost)}",
            "run again; if they are lost again, the feed is at fault, not the pictures: report it with these ids",
        )


def not_exactly_once(found: Iterable[int], expected: Sequence[int]) -> str:
    """How `found` picture ids differ from each expected one once; an empty string if they do not, whatever the order."""
    counted, wanted = Counter(found), set(expected)
    problems = {
        "missing": wanted - counted.keys(),
        "more than once": {picture_id for picture_id, times in counted.items() if times > 1},
        "foreign": counted.keys() - wanted,
    }
    listed = [f"{what}: {some(ids)}" for what, ids in problems.items() if ids]
    return f"pictures {'; '.join(listed)}" if listed else ""


def some(ids: Iterable[int]) -> str:
    """The first of these picture ids, and how many there are if that is not all of them."""
    ordered = sorted(ids)
    listed = ", ".join(map(str, ordered[:5]))
    return f"{listed}, ... ({len(ordered)} in all)" if len(ordered) > 5 else listed
