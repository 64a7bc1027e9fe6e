"""Categories of a dataset as classes of a model: the same by name, unless somebody says which category is which class.

What has no counterpart counts as with pycocotools: detections of a class that is no category of the file are not looked at, and
a category that no class is has an AP of 0 as soon as it has an object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fcos_lib.contract import ModelContract, contract_for
from fcos_lib.errors import UsageError
from fcos_lib.files import some
from fcos_lib.stream.annotations import Annotations


@dataclass(frozen=True, slots=True)
class Naming:
    """Which model a dataset is meant for, and what its categories are called there."""

    contract: ModelContract | None = None
    """The contract that was named; None: the one that `choose` finds for the categories."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Class of the contract by category of the dataset, for those that are said; others are called alike."""
    choose: Callable[[tuple[str, ...]], ModelContract] = contract_for
    """The contract of some classes; `UsageError` if there is none."""

    @classmethod
    def said(cls, contract: ModelContract | None, pairs: Sequence[str]) -> Naming:
        """The naming that a named contract and `--category CLASS=NAME`, any number of times, come to; `UsageError` if none."""
        split = [(name, own) for name, _, own in (pair.partition("=") for pair in pairs)]
        if not pairs:
            return cls(contract)
        if contract is None:
            raise UsageError(
                f"--category {pairs[0]} does not say of which model",
                "pass --contract NAME, the model's contract, with it",
            )
        unknown = [name for name, _ in split if name not in contract.classes]
        if unknown:
            raise UsageError(
                f"--category: {some(unknown)} is no class of contract '{contract.name}'",
                "write the model's class first, such as --category person=pedestrian",
            )
        for values in zip(*split, strict=True):
            if twice := [name for name, count in Counter(values).items() if count > 1]:
                raise UsageError(f"--category: {some(twice)} is given twice", "one category is one class")
        return cls(contract, {category: name for name, category in split})

    def category_ids(self, by_category: Mapping[str, int], path: Path) -> dict[str, int]:
        """Category id by class, from those by category; classes without a category get negative ones. `UsageError` if one is unclear."""
        if not self.classes or self.contract is None:
            return dict(by_category)
        unknown = self.classes.keys() - by_category.keys()
        if unknown:
            raise UsageError(
                f"--category: {some(unknown)} is no category of {path}, which has {some(by_category)}",
                "write the dataset's own name behind the =",
            )
        taken = set(self.classes.values())
        unclear = [name for name in by_category.keys() - self.classes.keys() if name in taken]
        if unclear:
            raise UsageError(
                f"--category: {path} has a category {some(unclear)} of its own, and another one is said to be that class",
                "leave it out, or say which class the dataset's own category is",
            )
        ids = {self.classes.get(name, name): number for name, number in by_category.items()}
        missing = [name for name in self.contract.classes if name not in ids]
        return ids | {name: -1 - index for index, name in enumerate(missing)}

    def contract_of(self, classes: Sequence[str], path: Path) -> ModelContract:
        """The contract of a dataset with these classes; `UsageError` if the named one has others and nobody said which is which."""
        if self.contract is None:
            try:
                return self.choose(tuple(classes))
            except UsageError as error:
                renamed = "categories under other names: pass --contract NAME and --category CLASS=NAME"
                raise UsageError(error.found, f"{error.advice}; {renamed}") from None
        contract = self.contract
        missing = sorted(set(contract.classes) - set(classes))
        if missing and not self.classes:
            advice = "say with --category CLASS=NAME which category is which class; with one of them said, others may be missing"
            with suppress(UsageError):
                advice = f"leave --contract out: the dataset's categories are those of {self.choose(tuple(classes)).name}; or {advice}"
            raise UsageError(
                f"contract '{contract.name}' has {len(missing)} classes that {path} lacks ({some(missing)})", advice
            )
        return contract

    def remarks(self, category_ids: Mapping[str, int], annotations: Annotations) -> Iterator[str]:
        """What has no counterpart, and what that means for the numbers."""
        if self.contract is None:
            return
        known = self.contract.classes
        if without := [name for name in known if category_ids.get(name, -1) < 0]:
            yield f"{len(without)} classes of the model are no category, and what it finds of them does not count ({some(without)})"
        annotated = {record["category_id"] for record in annotations.objects}
        strange = [name for name, number in category_ids.items() if name not in known and number in annotated]
        if strange:
            yield f"{len(strange)} categories are no class of the model, so that their AP is 0 and counts ({some(strange)})"
