"""The cohort: a validated table of patients, of any size down to one."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.dictionary import Column, Dictionary, Field, FloatArray, load_dictionary
from features.eligibility import Attrition
from features.errors import InvalidCohort, InvalidRequest, Problem
from features.fingerprint import canonical_json, sha256
from features.units import asked, rows_in_question, unit_question

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PATIENT = "patient"
SITE = "salvage"
MOST_NAMED = 20
MISAPPLIED = "does not apply to this disease"


@dataclass(frozen=True)
class Provenance:
    """Where a cohort came from: recipe, source, terms of use, index event, known selection and attrition."""

    recipe: str
    evidence: str
    source: str
    terms: str
    index_event: str
    selection: tuple[str, ...]
    attrition: Attrition

    def as_dict(self) -> dict[str, Any]:
        """Return the provenance as JSON values, as a cohort file stores it."""
        stated = {
            name: getattr(self, name) for name in ("recipe", "evidence", "source", "terms", "index_event")
        }
        return stated | {"selection": list(self.selection), "attrition": self.attrition.as_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Provenance":
        rest = {**stored, "selection": tuple(stored["selection"])}
        return cls(**{**rest, "attrition": Attrition.from_dict(stored["attrition"])})


@dataclass(frozen=True)
class Cohort:
    """Patients by row and dictionary fields by name, every value within its declared rule.

    ``values`` holds one float64 array of shape (patients,) per field: numbers in the field's unit, flags as
    0/1, categories as their position in the dictionary, NaN where missing.
    """

    dictionary: Dictionary
    patients: tuple[str, ...]
    values: Mapping[str, FloatArray]
    provenance: tuple[Provenance, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.patients)

    @classmethod
    def from_frame(
        cls,
        frame: "pd.DataFrame",
        *,
        dictionary: Dictionary,
        provenance: tuple[Provenance, ...] = (),
        units_stated: bool = False,
    ) -> "Cohort":
        """Validate a table whose columns are dictionary names plus ``patient``.

        A number that fits another usual unit better than its field's is refused, as in a request. Where the
        source has stated its units (``units_stated``), rare extremes are believed, a column of them is not.

        Raises:
            InvalidCohort: naming every problem in every column at once.

        """
        if (twice := frame.columns[frame.columns.duplicated()]).size:
            raise InvalidCohort(
                "cohort", [Problem(str(n), "is a column twice", "keep one") for n in dict.fromkeys(twice)]
            )
        problems = [
            Problem(name, "is missing from the table", "add the column or map it in the recipe")
            for name in (PATIENT, *dictionary.names)
            if name not in frame.columns
        ]
        columns = dict[str, Column]()
        for declared in (f for f in dictionary.fields if f.name in frame.columns):
            read = declared.read_series(series := frame[declared.name])
            columns[declared.name], units = rows_in_question(declared, series, read, stated=units_stated)
            problems += _table_problems(declared, columns[declared.name])
            problems += [_column_question(declared, unit, rows) for unit, rows in units.items()]
        values = {name: column.numbers for name, column in columns.items()}
        problems += applicability_problems(dictionary, values, rows=np.arange(1, len(frame) + 1))
        if PATIENT in frame.columns:
            problems += _patient_problems(frame[PATIENT])
        if problems:
            raise InvalidCohort("cohort", problems)
        patients = tuple(str(patient) for patient in frame[PATIENT])
        return cls(dictionary, patients, values, provenance)

    @classmethod
    def from_patient(cls, patient: Mapping[str, object], *, dictionary: Dictionary) -> "Cohort":
        """Validate one patient given as dictionary fields; fields left out are missing.

        Raises:
            InvalidRequest: naming every unknown field and every value outside its rule.

        """
        return cls.of_one(read_patient(patient, dictionary=dictionary), dictionary=dictionary)

    @classmethod
    def of_one(cls, values: Mapping[str, float], *, dictionary: Dictionary) -> "Cohort":
        """Return the cohort of one patient whose values :func:`read_patient` has read."""
        return cls(dictionary, (PATIENT,), {name: np.array([value]) for name, value in values.items()})

    def take(self, rows: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> "Cohort":
        """Return the cohort of the patients in these rows, in their order."""
        index = np.arange(len(self))[rows]
        patients = tuple(self.patients[i] for i in index)
        return replace(self, patients=patients, values={name: v[index] for name, v in self.values.items()})

    def text(self, name: str) -> list[str | None]:
        """Return a category field's category names by patient, None where missing."""
        declared = self.dictionary[name]
        return [None if np.isnan(v) else declared.category_names[int(v)] for v in self.values[name]]

    def text_or_missing(self, name: str) -> list[str | None]:
        """Return category names by patient, all None where the cohort lacks the field."""
        return self.text(name) if name in self.values else [None] * len(self)

    def patient(self, row: int) -> dict[str, float | int | bool | str | None]:
        """Return one patient's values by field, None where missing."""
        return {f.name: f.value(float(self.values[f.name][row])) for f in self.dictionary.fields}

    @property
    def evidence(self) -> str:
        """Return ``real`` only when every part of the cohort is real."""
        real = bool(self.provenance) and all(p.evidence == "real" for p in self.provenance)
        return "real" if real else "synthetic"

    def fingerprint(self) -> str:
        """Return the SHA-256 of patients, fields and values; provenance does not enter it."""
        head = canonical_json([list(self.patients), list(self.dictionary.names)])
        body = b"".join(
            np.ascontiguousarray(self.values[name], dtype="<f8").tobytes() for name in self.dictionary.names
        )
        return sha256(head + body)

    def to_frame(self) -> "pd.DataFrame":
        """Return the cohort as a table of values, one row a patient, as :meth:`from_frame` reads it."""
        import pandas as pd  # noqa: PLC0415  takes a while to load and is never needed to answer

        columns: dict[str, Any] = {PATIENT: list(self.patients)}
        for declared in self.dictionary.fields:
            columns[declared.name] = [declared.value(float(v)) for v in self.values[declared.name]]
        return pd.DataFrame(columns, columns=[PATIENT, *self.dictionary.names])

    def write(self, path: Path) -> None:
        """Write the cohort as Parquet, with its provenance in the file's metadata."""
        import pyarrow as pa  # noqa: PLC0415  takes a while to load and is never needed to answer
        import pyarrow.parquet as pq  # noqa: PLC0415  as above

        columns = {PATIENT: pa.array(self.patients, pa.string())}
        columns |= {f.name: _arrow_column(f, self.values[f.name]) for f in self.dictionary.fields}
        stated = json.dumps([p.as_dict() for p in self.provenance])
        pq.write_table(pa.table(columns).replace_schema_metadata({SITE: stated}), path)

    @classmethod
    def read(cls, path: Path) -> "Cohort":
        """Read a cohort file and validate it again.

        Raises:
            InvalidCohort: when the file was not written by :meth:`write` or breaks the dictionary.

        """
        import pyarrow.parquet as pq  # noqa: PLC0415  takes a while to load and is never needed to answer

        dictionary, provenance = read_header(path)
        table = pq.read_table(path).to_pandas()
        return cls.from_frame(table, dictionary=dictionary, provenance=provenance, units_stated=True)


def read_patient(patient: Mapping[str, object], *, dictionary: Dictionary) -> dict[str, float]:
    """Validate one patient given by field; return each field's number, NaN where missing.

    A number that fits another usual unit better than its field's is refused with the question which is meant.

    Raises:
        InvalidRequest: naming every unknown field, every value outside its rule and every unit in question.

    """
    values, problems = {}, list[Problem]()
    if not patient.keys() <= dictionary.known:
        problems += _unknown_fields([name for name in patient if name not in dictionary], dictionary)
    for name, declared in dictionary.by_name.items():
        value = patient.get(name)
        values[name], fault = declared.read_one(value)
        if declared.usual is not None and (question := unit_question(declared, value)) is not None:
            problems.append(question)
        elif fault is not None:
            problems.append(Problem(name, fault, f"expected {declared.expected}"))
    problems += _misapplied(dictionary, values)
    if problems:
        raise InvalidRequest("patient", problems)
    return values


def concatenate(cohorts: Sequence[Cohort]) -> Cohort:
    """Join cohorts of several sources; a field that a cohort lacks is missing for its patients.

    The recipe's name is put before each patient's identifier, so that sources never share one.

    Raises:
        InvalidCohort: when two cohorts of the same source hold the same patient.

    """
    import pandas as pd  # noqa: PLC0415  takes a while to load and is never needed to answer

    names = load_dictionary().ordered(n for c in cohorts for n in c.dictionary.names)
    dictionary = load_dictionary().slice(names)
    values = {n: np.concatenate([c.values.get(n, np.full(len(c), np.nan)) for c in cohorts]) for n in names}
    patients = tuple(
        f"{'+'.join(p.recipe for p in c.provenance)}:{patient}" if len(cohorts) > 1 else patient
        for c in cohorts
        for patient in c.patients
    )
    problems = _patient_problems(pd.Series(patients, dtype=object))
    if problems:
        raise InvalidCohort("joined cohorts", problems)
    return Cohort(dictionary, patients, values, tuple(p for c in cohorts for p in c.provenance))


def read_header(path: Path) -> tuple[Dictionary, tuple[Provenance, ...]]:
    """Return the fields of a cohort file and where it came from, without reading its rows.

    Raises:
        InvalidCohort: when it is no cohort file or has columns that the dictionary does not know.

    """
    schema = _read_schema(path)
    metadata = (schema.metadata or {}).get(SITE.encode())
    if metadata is None or (provenance := _stated(metadata)) is None:
        remedy = "build it first: salvage cohort build --recipe RECIPE --input FILE --out COHORT.parquet"
        raise InvalidCohort(str(path), [Problem("file", "is not a cohort file", remedy)])
    known = load_dictionary()
    unknown = [name for name in schema.names if name not in known and name != PATIENT]
    if unknown:
        problems = [Problem(name, "is not in the dictionary", "remove the column") for name in unknown]
        raise InvalidCohort(str(path), problems)
    return known.slice(name for name in schema.names if name in known), provenance


def _stated(metadata: bytes) -> tuple[Provenance, ...] | None:
    """Return the provenance in a file's metadata, None where it is absent or unreadable."""
    try:
        stated = json.loads(metadata)
        return tuple(Provenance.from_dict(source) for source in stated) if isinstance(stated, list) else None
    except (ValueError, TypeError, KeyError):
        return None


def _read_schema(path: Path) -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415  takes a while to load and is never needed to answer
    import pyarrow.parquet as pq  # noqa: PLC0415  as above

    if path.is_dir():
        raise InvalidCohort(str(path), [Problem("file", "is a folder", "give one cohort file")])
    try:
        return pq.read_schema(path)
    except FileNotFoundError as error:
        raise InvalidCohort(str(path), [Problem("file", "does not exist", "check the path")]) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidCohort(
            str(path), [Problem("file", "is not Parquet", "build it with salvage cohort build")]
        ) from error


def _arrow_column(declared: Field, numbers: FloatArray) -> "pa.Array":
    import pyarrow as pa  # noqa: PLC0415  takes a while to load and is never needed to answer

    missing = np.isnan(numbers)
    filled = np.where(missing, 0.0, numbers)
    if declared.type == "category":
        codes = pa.array(filled.astype(np.int32), mask=missing)
        return pa.DictionaryArray.from_arrays(codes, list(declared.category_names)).cast(pa.string())
    if declared.type == "flag":
        return pa.array(filled == 1.0, mask=missing)
    return pa.array(filled.astype(np.int64) if declared.type == "integer" else filled, mask=missing)


def _unknown_fields(names: list[str], dictionary: Dictionary) -> list[Problem]:
    """Return a problem for each unknown field, up to ``MOST_NAMED``; the rest are counted in one."""
    problems = []
    for at, name in enumerate(names[:MOST_NAMED]):
        near = difflib.get_close_matches(name, dictionary.names, n=1)
        few = at == 0 and len(dictionary.names) <= MOST_NAMED
        listed = "use one of " + ", ".join(dictionary.names) if few else "leave it out"
        problems.append(Problem(name, "unknown field", f"did you mean {near[0]}?" if near else listed))
    if len(names) > MOST_NAMED:
        more = f"and {len(names) - MOST_NAMED:,} more unknown fields"
        problems.append(Problem("patient", more, "send the model's predictors only"))
    return problems


def _table_problems(declared: Field, column: Column) -> list[Problem]:
    return [
        Problem.in_rows(declared.name, fault, f"expected {declared.expected}", [row + 1 for row in rows])
        for fault, rows in column.faults.items()
    ]


def _column_question(declared: Field, unit: str, rows: Sequence[int]) -> Problem:
    by = f"multiply by {declared.conversions[unit]:.6g}"
    remedy = f"{by} if they are in {unit}; if they are in {declared.unit}, check them, or state the units"
    return Problem.in_rows(declared.name, asked(declared, unit), remedy, [row + 1 for row in rows])


def _misapplied(dictionary: Dictionary, values: Mapping[str, float]) -> list[Problem]:
    """Return a problem for each value of a field that does not apply to the patient's disease."""
    given = [f for f in dictionary.limited if not isnan(values[f.name])]
    if not given or isnan(code := values.get("disease", nan)):
        return []
    disease = dictionary["disease"].categories[int(code)].name
    return [
        Problem(declared.name, MISAPPLIED, _where_it_applies(declared))
        for declared in given
        if not declared.applies(disease)
    ]


def _where_it_applies(declared: Field) -> str:
    return "leave it out; it has a meaning only in " + ", ".join(declared.applies_to or ())


def applicability_problems(
    dictionary: Dictionary, values: Mapping[str, FloatArray], *, rows: npt.NDArray[np.int64]
) -> list[Problem]:
    """Return a problem for each field with values in a disease to which it does not apply.

    ``rows``, shape (patients,), are the row numbers that the problems give.
    """
    if "disease" not in values:
        return []
    names = dictionary["disease"].category_names
    problems = []
    for declared in dictionary.fields:
        if declared.applies_to is None or declared.name not in values:
            continue
        allowed = [float(names.index(d)) for d in declared.applies_to if d in names]
        wrong = ~np.isnan(values[declared.name]) & ~np.isin(values["disease"], allowed)
        named = rows[wrong & ~np.isnan(values["disease"])].tolist()
        if named:
            problems.append(Problem.in_rows(declared.name, MISAPPLIED, _where_it_applies(declared), named))
    return problems


def _patient_problems(patients: "pd.Series") -> list[Problem]:
    repeated = patients.astype(str).duplicated(keep=False) & patients.notna()
    faults = (
        ("is missing", "give every row an identifier", patients.isna()),
        ("stands in several rows", "keep one row a patient", repeated),
    )
    return [
        Problem.in_rows(PATIENT, fault, remedy, (np.flatnonzero(rows) + 1).tolist())
        for fault, remedy, rows in faults
        if rows.any()
    ]
