"""The values of a config, taken from its tree without running it.

What is literal is taken: numbers, text, lists, tuples, dicts, `dict(...)`, names bound above, `_base_`, sums and products
of numbers. All else is refused with its line.
"""

from __future__ import annotations

import ast

from fcos_lib.model.config_syntax import COMPUTED, MOST_VALUES, Node, Place, node_of, refuse

BASE = "_base_"
_KINDS = {
    ast.Call: "a call",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "an f-string",
    ast.Attribute: "an attribute",
    ast.Subscript: "an item of another value",
    ast.Set: "a set",
    ast.Compare: "a comparison",
    ast.NamedExpr: "an assignment inside of a value",
    ast.AugAssign: "an assignment that changes a value",
    ast.AnnAssign: "an assignment with a type",
}  # fmt: skip


class Reader:
    """Values of one config: what its names are bound to so far, and its bases."""

    def __init__(self, file: str, base: Node) -> None:
        self.file = file
        self.base = base
        self.names: dict[str, Node] = {}

    def run(self, statement: ast.stmt) -> None:
        """Bind the names of an assignment; `UsageError` for a statement that is none."""
        place = Place(self.file, statement.lineno)
        if (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        ):
            return  # a docstring
        if not isinstance(statement, ast.Assign):
            what = statement.value if isinstance(statement, ast.Expr) else statement
            refuse(place, f"{_kind(what)} is no assignment, so it is computed", COMPUTED)
        value = self.value(statement.value)
        for target in statement.targets:
            if not isinstance(target, ast.Name):
                refuse(place, f"{_kind(target)} is assigned to, so a value is computed", COMPUTED)
            if target.id == "dict" or target.id.startswith("__"):
                refuse(place, f"'{target.id}' is a name of Python's own", "take another name")
            self.names[target.id] = value

    def value(self, tree: ast.expr) -> Node:
        """What an expression says; `UsageError` with its line for one that has to be computed."""
        place = Place(self.file, tree.lineno)
        if isinstance(tree, ast.Constant):
            return self._constant(tree.value, place)
        if isinstance(tree, ast.Name):
            return self._name(tree.id, place)
        if isinstance(tree, ast.List | ast.Tuple):
            items = self._items(tree.elts)
            return node_of(items if isinstance(tree, ast.List) else tuple(items), place)
        if isinstance(tree, ast.Dict):
            return self._dict(tree, place)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "dict":
            return self._dict_call(tree, place)
        if isinstance(tree, ast.UnaryOp | ast.BinOp):
            return self._arithmetic(tree, place)
        if (path := _base_path(tree)) is not None:
            return self._of_base(path, place)
        return refuse(place, f"{_kind(tree)} is computed", COMPUTED)

    def _constant(self, value: object, place: Place) -> Node:
        if isinstance(value, str) and "{{" in value:
            refuse(place, "a text with {{...}} is filled in by mmengine, so it is computed", COMPUTED)
        if isinstance(value, int | float) and not -(2**63) <= value < 2**63:
            refuse(place, "a number is beyond 64 bits", "no FCOS needs one; write a smaller one")
        if value is None or isinstance(value, bool | int | float | str):
            return node_of(value, place)
        return refuse(place, f"a value of type {type(value).__name__} is no part of a config", "write text or a number")

    def _name(self, name: str, place: Place) -> Node:
        if name == BASE:
            return self.base
        if name not in self.names:
            refuse(
                place,
                f"'{name}' is bound to nothing above in this file",
                f"write the value; a name of a base file is {BASE}.{name}",
            )
        return self.names[name]

    def _items(self, trees: list[ast.expr]) -> list[Node]:
        items: list[Node] = []
        for tree in trees:
            inner = self.value(tree.value) if isinstance(tree, ast.Starred) else node_of([self.value(tree)], Place(self.file, tree.lineno))  # fmt: skip
            if not isinstance(inner.value, list | tuple):
                refuse(inner.place, "a * is before what is no list", "write the values")
            items.extend(inner.value)
            if len(items) > MOST_VALUES:
                node_of(items, inner.place)
        return items

    def _dict(self, tree: ast.Dict, place: Place) -> Node:
        entries: dict[str, Node] = {}
        for key, value in zip(tree.keys, tree.values, strict=True):
            if key is None:
                entries |= self._entries(value)
            else:
                name = self.value(key).value
                if not isinstance(name, str):
                    refuse(Place(self.file, key.lineno), "a key of a dict is no text", "write it as text")
                entries[name] = self.value(value)
        return node_of(entries, place)

    def _dict_call(self, tree: ast.Call, place: Place) -> Node:
        if len(tree.args) > 1 or any(isinstance(each, ast.Starred) for each in tree.args):
            refuse(place, "dict() has more than one positional argument", "write key=value")
        entries = dict(self._entries(tree.args[0])) if tree.args else {}
        given: dict[str, Node] = {}
        for each in tree.keywords:
            more = {each.arg: self.value(each.value)} if each.arg else self._entries(each.value)
            if twice := given.keys() & more.keys():
                refuse(
                    Place(self.file, each.value.lineno),
                    f"dict() is given '{min(twice)}' twice",
                    "leave one of them out",
                )
            given |= more
        return node_of(entries | given, place)

    def _entries(self, tree: ast.expr) -> dict[str, Node]:
        node = self.value(tree)
        if not isinstance(node.value, dict):
            refuse(Place(self.file, tree.lineno), "what is no dict is to be unpacked as one", "write key=value")
        return node.value

    def _arithmetic(self, tree: ast.UnaryOp | ast.BinOp, place: Place) -> Node:
        trees = (tree.operand,) if isinstance(tree, ast.UnaryOp) else (tree.left, tree.right)
        nodes = [self.value(each) for each in trees]
        values = [node.value for node in nodes]
        if isinstance(tree.op, ast.Add) and any(all(isinstance(each, kind) for each in values) for kind in (str, list, tuple)):  # fmt: skip
            left, right = values
            return node_of(left + right, place)  # type: ignore[operator]  # both of one kind, as the line above says
        if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
            try:
                return self._constant(_number(tree.op, values), place)  # type: ignore[arg-type]  # all numbers, as above
            except (ZeroDivisionError, OverflowError):
                refuse(place, "a division by nothing is no number", "write the value")
        return refuse(place, f"{_kind(tree)} of what are no numbers is computed", COMPUTED)

    def _of_base(self, path: list[str], place: Place) -> Node:
        node = self.base
        for count, name in enumerate(path, 1):
            if not isinstance(node.value, dict) or name not in node.value:
                refuse(place, f"the base files have no {'.'.join(path[:count])}", "write the value itself")
            node = node.value[name]
        return node


def _number(operator: ast.operator | ast.unaryop, values: list[float]) -> float | None:
    """The result of simple arithmetic; None for an operator that is not simple."""
    if isinstance(operator, ast.USub):
        return -values[0]
    if isinstance(operator, ast.UAdd):
        return values[0]
    left, right = (values * 2)[:2]
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    return left / right if isinstance(operator, ast.Div) else None


def _base_path(tree: ast.expr) -> list[str] | None:
    """The names behind `_base_` in `_base_.x.y` and in `{{_base_.x.y}}`; None for anything else."""
    if isinstance(tree, ast.Set) and len(tree.elts) == 1 and isinstance(inner := tree.elts[0], ast.Set):
        return _base_path(inner.elts[0]) if len(inner.elts) == 1 and isinstance(inner.elts[0], ast.Attribute) else None
    path: list[str] = []
    while isinstance(tree, ast.Attribute):
        path.insert(0, tree.attr)
        tree = tree.value
    return path if path and isinstance(tree, ast.Name) and tree.id == BASE else None


def _kind(tree: ast.AST) -> str:
    return _KINDS.get(type(tree), f"'{type(tree).__name__}'")
