"""Errors: their wording, their tree, and that no patient's value travels in them."""

import json
import pickle

from features import errors
from features.errors import InvalidCohort, InvalidInput, Problem, SalvageError


def descendants(kind: type[SalvageError]) -> set[type[SalvageError]]:
    children = set(kind.__subclasses__())
    return children.union(*(descendants(child) for child in children)) if children else set()


def test_a_problem_of_a_table_says_where_what_how_often_and_what_to_do():
    problem = Problem("age", "out of range", "expected a number from 0 to 120 years", 7, (1, 2, 3))
    assert str(problem) == "age: out of range (7 rows, e.g. 1, 2, 3); expected a number from 0 to 120 years"


def test_a_problem_of_a_patient_speaks_of_no_rows():
    problem = Problem("age", "out of range", "expected a number")
    assert str(problem) == "age: out of range; expected a number"
    assert problem.as_dict() == {"field": "age", "problem": "out of range", "remedy": "expected a number"}


def test_a_problem_is_ready_for_json():
    problem = Problem("age", "out of range", "expected a number", 2, (1, 9))
    assert json.loads(json.dumps(problem.as_dict())) == {
        "field": "age",
        "problem": "out of range",
        "remedy": "expected a number",
        "rows": 2,
        "examples": [1, 9],
    }


def test_invalid_input_names_its_subject_and_every_problem():
    error = InvalidCohort("ward", (Problem(name, "is odd", "mend it") for name in ("age", "sex")))
    assert str(error) == "ward: age: is odd; mend it | sex: is odd; mend it"
    assert [p.field for p in error.problems] == ["age", "sex"]


def test_the_caller_can_mend_every_invalid_input():
    invalid = {kind for kind in descendants(SalvageError) if kind.__name__.startswith("Invalid")}
    assert invalid == descendants(InvalidInput) | {InvalidInput}


def test_the_tree_at_the_top_of_the_file_shows_every_error():
    here = {kind for kind in descendants(SalvageError) if kind.__module__ == errors.__name__}
    missing = {kind.__name__ for kind in here if kind.__name__ not in (errors.__doc__ or "")}
    assert missing == set()


def test_every_error_reaches_another_process_as_it_is():
    here = {kind for kind in descendants(SalvageError) if kind.__module__ == errors.__name__}
    for kind in here:
        invalid = issubclass(kind, InvalidInput)
        error = kind("ward", (Problem("age", "is odd", "mend it", 2, (1, 9)),)) if invalid else kind("why")
        arrived = pickle.loads(pickle.dumps(error))
        assert (type(arrived), str(arrived), vars(arrived)) == (kind, str(error), vars(error))
