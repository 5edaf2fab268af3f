"""Properties: none has a deadline, which it would miss wherever its kernels are not compiled yet."""

import ast
from pathlib import Path

from hypothesis import settings

TESTS = Path(__file__).parents[1]


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Return every call of a function or method in the tests, with where it stands."""
    return [
        (f"{file.relative_to(TESTS)}:{node.lineno}", node)
        for file in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name
    ]


def stated_deadlines(call: ast.Call) -> list[str]:
    values = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg in ("deadline", None)]
    return [value for value in values if value != "None"]


def test_the_profile_that_every_property_inherits_has_no_deadline():
    assert settings.get_current_profile_name() == "salvage"
    assert settings().deadline is None


def test_the_profile_is_loaded_once():
    assert [place.partition(":")[0] for place, _ in calls("load_profile")] == ["conftest.py"]


def test_no_property_sets_a_deadline_of_its_own():
    assert len(calls("given")) > 50
    assert [place for place, call in calls("settings") if stated_deadlines(call)] == []
