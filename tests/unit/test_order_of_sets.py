"""What a record says never depends on the order of a set. That differs from process to process (PYTHONHASHSEED), and a replay
would say something else than the first run did.

By type, not by spelling: mypy says of each expression whether it is a set. Sets of numbers have one order.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mypy import build, nodes, types
from mypy.modulefinder import BuildSource
from mypy.options import Options

from streams.engine.flow import Fold
from streams.runtime.app import all_flows
from streams.settings.settings import Settings

ROOT = Path(__file__).parents[2]
RULES = ("schemas", "tables", "connectors")
SETS = {"builtins.set", "builtins.frozenset", "typing.AbstractSet"}
ORDERLESS = {"sorted", "len", "set", "frozenset", "any", "all", "min", "max", "sum", "bool", "isinstance"}
"""What comes out of these does not depend on the order of what goes in."""
NEVER = {"builtins.hash", "builtins.id", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today"}
ALLOWED = {
    "_known": "names of time zones by their small letters: no two are the same",
    "_currency": "of one",
    "_retry_after_ms": "an agent's: what a server said, by its clock or else ours",
}
LINKS = {"node", "info", "type", "analyzed", "names", "var", "unanalyzed_type", "definition", "unanalyzed_items", "metadata"}
"""Attributes of mypy's nodes that lead to other trees."""


def is_unordered(kind: types.Type | None) -> bool:
    """Whether it is, or may be, a set of anything but numbers."""
    kind = None if kind is None else types.get_proper_type(kind)
    if isinstance(kind, types.UnionType):
        return any(map(is_unordered, kind.items))
    if not isinstance(kind, types.Instance) or not any(base.fullname in SETS for base in kind.type.mro):
        return False
    if kind.type.fullname in {"typing.KeysView", "typing.ItemsView"} or kind.type.name.startswith("dict_"):
        return False  # as they were put in
    of = [types.get_proper_type(argument) for argument in kind.args]
    return not all(isinstance(one, types.Instance) and one.type.fullname == "builtins.int" for one in of)


def takes_order(kind: types.Type | None) -> bool:
    """Whether something declared so may look at the order of what it is given."""
    kind = None if kind is None else types.get_proper_type(kind)
    if isinstance(kind, types.UnionType):
        return any(map(takes_order, kind.items)) and not any(map(is_unordered, kind.items))
    return isinstance(kind, types.Instance) and not is_unordered(kind) and kind.type.has_readable_member("__iter__")


class Finder:
    """Goes through one module's tree. `kinds`: the types mypy found."""

    def __init__(self, kinds: dict[nodes.Expression, types.Type]) -> None:
        self.kinds = kinds
        self.seen: set[int] = set()
        self.orderless: set[int] = set()
        self.function = ""
        self.returns: types.Type | None = None

    def look(self, node: nodes.Node) -> Iterator[str]:
        """Sentences, with line numbers."""
        if id(node) in self.seen:
            return
        self.seen.add(id(node))
        outer = self.function, self.returns
        if isinstance(node, nodes.FuncDef):
            self.function, kind = node.name, node.type
            self.returns = kind.ret_type if isinstance(kind, types.CallableType) else None
        for expression in self.iterated(node):
            if is_unordered(self.kinds.get(expression)):
                yield f"{expression.line}: {self.function}: the order of a set ({type(node).__name__})"
        if isinstance(node, nodes.RefExpr) and (name := name_of(node)) in NEVER:
            yield f"{node.line}: {self.function}: {name}"
        for child in children(node):
            yield from self.look(child)
        self.function, self.returns = outer

    def iterated(self, node: nodes.Node) -> Iterator[nodes.Expression]:
        """What is put in an order by this node, if it has none."""
        if id(node) in self.orderless:
            return
        if isinstance(node, nodes.SetExpr):
            self.orderless |= set(map(id, node.items))
        elif isinstance(node, nodes.SetComprehension):
            self.orderless.add(id(node.generator))
        elif isinstance(node, nodes.ForStmt | nodes.StarExpr | nodes.YieldFromExpr):
            yield node.expr
        elif isinstance(node, nodes.GeneratorExpr | nodes.DictionaryComprehension):
            yield from node.sequences
        elif isinstance(node, nodes.ReturnStmt) and node.expr is not None and takes_order(self.returns):
            yield node.expr
        elif isinstance(node, nodes.AssignmentStmt):
            if any(isinstance(at, nodes.TupleExpr | nodes.ListExpr) or takes_order(self.declared(at)) for at in node.lvalues):
                yield node.rvalue
        elif isinstance(node, nodes.CallExpr):
            yield from self.handed(node)

    def declared(self, at: nodes.Lvalue) -> types.Type | None:
        return at.node.type if isinstance(at, nodes.RefExpr) and isinstance(at.node, nodes.Var) else None

    def handed(self, call: nodes.CallExpr) -> Iterator[nodes.Expression]:
        """A set's own `pop`, and sets given to what may look at their order."""
        callee = call.callee
        if isinstance(callee, nodes.MemberExpr) and callee.name == "pop":
            yield callee.expr
        kind = types.get_proper_type(self.kinds.get(callee)) if callee in self.kinds else None
        yield from (argument for argument, how in zip(call.args, call.arg_kinds, strict=True) if how is nodes.ARG_STAR)
        if isinstance(callee, nodes.NameExpr) and callee.name in ORDERLESS:
            self.orderless |= set(map(id, call.args))
        elif isinstance(kind, types.CallableType | types.Overloaded) and not self.is_of_sets(callee):
            for index, argument in enumerate(call.args):
                name = call.arg_names[index]
                for one in kind.items:
                    formal = one.argument_by_name(name) if name else one.argument_by_position(index)
                    if formal is not None and takes_order(formal.typ):
                        yield argument

    def is_of_sets(self, callee: nodes.Expression) -> bool:
        return isinstance(callee, nodes.MemberExpr) and is_unordered(self.kinds.get(callee.expr))


def name_of(node: nodes.RefExpr) -> str:
    """With the class's, of one of its methods."""
    if isinstance(node, nodes.MemberExpr) and isinstance(node.expr, nodes.RefExpr):
        return f"{node.expr.fullname}.{node.name}"
    return node.fullname


def children(node: nodes.Node) -> Iterator[nodes.Node]:
    """In mypy's compiled trees there is no visitor to be had for Python."""
    for name in dir(node):
        if name.startswith("_") or name in LINKS:
            continue
        yield from _nodes(getattr(node, name, None))


def _nodes(value: object) -> Iterator[nodes.Node]:
    if isinstance(value, nodes.Node) and not isinstance(value, nodes.TypeInfo | nodes.Var):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _nodes(one)


def found_in(sources: list[BuildSource]) -> list[str]:
    """What is wrong with these modules: their own code alone is typed."""
    options = Options()
    options.export_types = options.preserve_asts = options.namespace_packages = options.explicit_package_bases = True
    options.incremental = False
    options.follow_imports = "skip"
    options.mypy_path = [str(ROOT)]
    made = build.build(sources, options)
    wrong = []
    for source in sources:
        tree = made.files[source.module]
        wrong += [f"{source.path or source.module}:{text}" for text in Finder(made.types).look(tree)]
    return wrong


def source_of(path: Path) -> BuildSource:
    name = path.relative_to(ROOT).with_suffix("")
    return BuildSource(str(path.relative_to(ROOT)), ".".join(name.parts).removesuffix(".__init__"))


def wired() -> set[Path]:
    """Where flows are made of rules."""
    found = set()
    for flow in all_flows(Settings()):
        for made in flow.rules.values() if isinstance(flow, Fold) else [flow.translate]:
            rule = made.func if isinstance(made, partial) else made
            found.add(Path(sys.modules[rule.__module__].__file__ or ""))
    return found


def test_no_rule_and_no_translator_takes_the_order_of_a_set() -> None:
    """Nor asks the machine. Rules, translators and what they are made of: wherever they are wired, too."""
    paths = {path for part in RULES for path in (ROOT / part).rglob("*.py")} | wired()
    paths = {path for path in paths if not path.is_relative_to(ROOT / "connectors" / "api")}  # an answer is not a record
    assert any(path.is_relative_to(ROOT / "streams") for path in paths), "none of the flows was found"
    found = found_in([source_of(path) for path in sorted(paths)])
    functions = [text.split(": ")[1] for text in found]
    wrong = [text for text, function in zip(found, functions, strict=True) if function not in ALLOWED]
    assert wrong == [], "sort it; or say in ALLOWED why its order does not matter"
    assert ALLOWED.keys() <= set(functions), "what is allowed is not there any more"


PLANTED = {
    "[print(a) for a in names]": True,
    "[print(a) for a in sorted(names)]": False,
    "[print(a) for a in ({*names, 'x'} if names else ['y'])]": True,
    "[print(n) for n in numbers]": False,
    "text = ', '.join(names)": True,
    "found = [a for a in names]": True,
    "found = {a for a in names}": False,
    "found = {a: 1 for a in names}": True,
    "found = tuple(names | {'x'})": True,
    "found = max(names)": False,
    "found = dict.fromkeys(names)": True,
    "found = {*names, 'x'}": False,
    "found = [*names, 'x']": True,
    "found = print(*names)": True,
    "one, *_ = names": True,
    "one = more.pop()": True,
    "[print(a) for a in kept.keys() & names]": True,
    "[print(a) for a in kept]": False,
    "[print(a) for a in kept.keys()]": False,
    "is_there = all(a in names for a in kept)": False,
    "where: Iterable[str] = names": True,
    "asks(names)": True,
    "looks(names)": False,
    "are = sorted(a + 'x' for a in names)": False,
    "are = sorted([a + 'x' for a in names])": True,
    "number = hash('x')": True,
    "today = date.today()": True,
}


def test_it_is_found_by_type() -> None:
    """Each planted line that takes an order, and no other."""
    program = """
from collections.abc import Collection, Container, Iterable, Set
from datetime import date
def asks(found: Collection[str]) -> None: ...
def looks(found: Container[str]) -> None: ...
def given(names: set[str]) -> Iterable[str]:
    return names
"""
    rule = "def rule(names: Set[str], numbers: frozenset[int], kept: dict[str, int], more: set[str]) -> None: "
    lines = program.splitlines()
    wanted = {len(lines)} | {len(lines) + number for number, wrong in enumerate(PLANTED.values(), 1) if wrong}
    found = found_in([BuildSource(None, "planted", "\n".join([*lines, *[rule + line for line in PLANTED]]))])
    assert {int(text.split(":")[1]) for text in found} == wanted, found
