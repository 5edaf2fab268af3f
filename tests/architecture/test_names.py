"""Names: no class of serving/ shares its name with another class, so that a search finds the right one."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("features", "models", "training", "serving")


def classes() -> dict[str, list[str]]:
    """Return where classes of each name are defined."""
    places = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(str(file.relative_to(ROOT)))
    return places


def test_a_class_of_serving_has_a_name_of_its_own():
    ours = {name: files for name, files in classes().items() if any(f.startswith("serving/") for f in files)}
    assert len(ours) > 100
    assert {name: files for name, files in ours.items() if len(files) > 1} == {}
