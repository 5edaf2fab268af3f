"""In training, what differs between survival, competing risks and response stands in training/kinds alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "training"
KINDS = {"SURVIVAL", "COMPETING_RISKS", "RESPONSE", "READERS"}
OUTCOMES = {"Outcome", "BinaryOutcome", "CompetingOutcome", "ResponseOutcome", "AnyOutcome"}
UNTYPED = {"outcome", "outcomes", "cross_fit", "fitted"}


def names(node: ast.AST | None) -> set[str]:
    """Return the names and attributes in an expression."""
    found = [] if node is None else list(ast.walk(node))
    return {n.id for n in found if isinstance(n, ast.Name)} | {
        n.attr for n in found if isinstance(n, ast.Attribute)
    }


def branches(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that ask for a kind, or of which class an outcome is."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                decided = any(isinstance(n, ast.Attribute) and n.attr == "kind" for n in (left, *others))
            case (
                ast.Subscript(slice=ast.Attribute(attr="kind"))
                | ast.Match(subject=ast.Attribute(attr="kind"))
            ):
                decided = True
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, classes]):
                decided = bool(names(classes) & OUTCOMES)
            case ast.MatchClass(cls=cls):
                decided = bool(names(cls) & OUTCOMES)
            case ast.ImportFrom(names=imported):
                decided = bool({alias.name for alias in imported} & KINDS)
            case _:
                decided = False
        if decided:
            yield node.lineno


def untyped(tree: ast.AST) -> Iterator[int]:
    """Yield the lines on which an outcome or a fit is of any type."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.arg(arg=name, annotation=annotation)
                | ast.AnnAssign(target=ast.Name(id=name), annotation=annotation)
            ):
                loose = name in UNTYPED and "Any" in names(annotation)
            case ast.Subscript(value=ast.Name(id="CrossFit"), slice=inner):
                loose = "Any" in names(inner)
            case _:
                loose = False
        if loose:
            yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        "if endpoint.kind == 'response': pass",
        "if endpoint.kind in (A, B): pass",
        "READ[endpoint.kind]",
        "match endpoint.kind:\n    case _: pass",
        "isinstance(outcome, (int, CompetingOutcome))",
        "match outcome:\n    case Outcome(): pass",
        "from features.endpoints import ENDPOINTS, RESPONSE",
    ],
)
def test_a_branch_on_the_kind_is_seen(source):
    assert list(branches(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["def f(outcome: Any): pass", "outcomes: Mapping[str, Any] = {}", "def f(x: CrossFit[Any]): pass"],
)
def test_an_outcome_of_any_type_is_seen(source):
    assert list(untyped(ast.parse(source)))


def test_training_branches_on_the_kind_in_kinds_alone_and_types_every_outcome():
    sources = {path.relative_to(ROOM): ast.parse(path.read_text("utf-8")) for path in ROOM.rglob("*.py")}
    branching = {
        f"{p}:{line}" for p, tree in sources.items() for line in branches(tree) if p.parts[0] != "kinds"
    }
    loose = {f"{p}:{line}" for p, tree in sources.items() for line in untyped(tree)}
    assert (branching, loose) == (set(), set())
