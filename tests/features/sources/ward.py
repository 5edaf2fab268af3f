"""A made-up ward's export and its recipe, written by hand as a hospital would."""

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.sources.build import build_cohort
from features.sources.recipe import Recipe, load_recipe, parse_recipe

RECIPE = """\
name: ward
title: A ward's export, made for tests
evidence: synthetic
source:
  citation: made for tests
  terms: none
  selection: [made for tests]
index_event: first relapse
patient: id
include:
  - {column: relapsed, keep: [1], leave_out: [0, 9], reason: no relapse recorded}
fields:
  disease: {column: site, codes: {B: breast_cancer, C: colorectal_cancer}}
  age:
    sum: [{column: age, unit: years}, {column: relapse_day, unit: days}]
  sex: {column: sex, codes: {F: female, M: male}}
  menopausal_status: {column: meno, codes: {pre: premenopausal, post: postmenopausal}}
  months_diagnosis_to_relapse: {column: relapse_day, unit: days}
  positive_lymph_nodes: {column: nodes}
  prior_chemotherapy: {column: chemo, codes: {0: false, 1: true}}
  months_followed:
    sum: [{column: last_day, unit: days}, {column: relapse_day, unit: days, subtract: true}]
  died: {column: dead, codes: {0: false, 1: true}}
"""

COLUMNS = (
    "id",
    "relapsed",
    "site",
    "age",
    "relapse_day",
    "sex",
    "meno",
    "nodes",
    "chemo",
    "last_day",
    "dead",
)
ROW: dict[str, object] = dict(zip(COLUMNS, ("p1", 1, "B", 50, 365, "F", "post", 3, 1, 1095, 1), strict=True))
COLON: dict[str, object] = {"site": "C", "sex": "M", "meno": None}


def declared() -> dict[str, Any]:
    """Return the ward's recipe as declared, free to be changed."""
    entry: dict[str, Any] = copy.deepcopy(yaml.safe_load(RECIPE))
    return entry


def recipe(**fields: object) -> Recipe:
    """Return the ward's recipe with some fields mapped otherwise."""
    entry = declared()
    entry["fields"] |= fields
    return parse_recipe(entry, dictionary=load_dictionary())


def rows(*changes: dict[str, object]) -> pd.DataFrame:
    """Return one valid row per change, patients p1, p2, ..., each changed as said."""
    table = [ROW | {"id": f"p{number}"} | change for number, change in enumerate(changes, start=1)]
    return pd.DataFrame(table, columns=list(table[0]))


def build(folder: Path, table: pd.DataFrame, *, kind: str = "csv", following: Recipe | None = None) -> Cohort:
    """Write the recipe and the table as files and build the cohort from them."""
    file = folder / f"ward.{kind}"
    if kind == "parquet":
        table.to_parquet(file)
    else:
        table.to_csv(file, index=False, sep="\t" if kind == "tsv" else ",")
    if following is not None:
        return build_cohort(following, source=file)
    (folder / "ward.yaml").write_text(RECIPE, encoding="utf-8")
    return build_cohort(load_recipe(str(folder / "ward.yaml")), source=file)
