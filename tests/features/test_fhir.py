"""The FHIR door: patients made by hand, published examples, and records that are wrong on purpose."""

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.errors import InvalidCohort
from features.sources.build import build_cohort
from features.sources.fhir import FhirRecipe, extract_bundle
from features.sources.fhir.line import inferred_lines
from features.sources.fhir.resources import DatedResource, LocatedResource, ReferenceScope
from features.sources.fhir.terminology import Drug, load_terminology
from features.sources.fhir.treatment import Dose

SHARED = Path(__file__).parents[2].parent / "shared" / "fhir"
examples = pytest.mark.skipif(not SHARED.is_dir(), reason="the FHIR examples (shared/fhir) are not here")

SCT, LOINC, RXNORM = (
    "http://snomed.info/sct",
    "http://loinc.org",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
)
WORSENED, REMISSION = "271299001", "103338009"


def concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "a", "gender": "female", "birthDate": "1960-01-01", **more}


def resource(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": name, "subject": {"reference": "Patient/a"}, **more}


def condition(
    name: str = "c", day: str = "2018-01-01", code: str = "254837009", **more: Any
) -> dict[str, Any]:
    return resource("Condition", name, onsetDateTime=day, code=concept(SCT, code), **more)


def status(day: str, code: str = WORSENED, **more: Any) -> dict[str, Any]:
    value = concept(SCT, code)
    return observation("97509-4", day, name=f"status-{day}-{code}", valueCodeableConcept=value, **more)


def observation(loinc: str, day: str, name: str = "", **more: Any) -> dict[str, Any]:
    code = concept(LOINC, loinc)
    return resource("Observation", name or f"{loinc}-{day}", code=code, effectiveDateTime=day, **more)


def lab(loinc: str, day: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
    return observation(loinc, day, valueQuantity={"value": value, "code": unit, "unit": unit}, **more)


def dose(day: str, name: str, kind: str = "MedicationAdministration", **more: Any) -> dict[str, Any]:
    drug = concept(RXNORM, "0", name)
    when = "authoredOn" if kind == "MedicationRequest" else "effectiveDateTime"
    made = {"status": "completed", when: day, "medicationCodeableConcept": drug, **more}
    return resource(kind, f"{name}-{day}", **made)


SEEN = resource("Encounter", "last", period={"end": "2022-01-01"})
RELAPSED = [patient(), condition(), status("2020-01-01"), SEEN]


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


def write(folder: Path, *resources: dict[str, Any], name: str = "a.json") -> Path:
    (folder / name).write_bytes(orjson.dumps(bundle(*resources)))
    return folder


def read(folder: Path, *resources: dict[str, Any], **more: Any) -> Cohort:
    return build_cohort(FhirRecipe(evidence="synthetic", **more), write(folder, *resources))


def refused(path: Path) -> str:
    with pytest.raises(InvalidCohort) as caught:
        build_cohort(FhirRecipe(evidence="synthetic"), path)
    return str(caught.value)


class TestOnePatient:
    def test_what_a_relapsed_patient_yields(self, tmp_path: Path) -> None:
        cohort = read(
            tmp_path,
            *RELAPSED,
            observation("89247-1", "2019-12-20", valueInteger=1),
            observation("85337-4", "2018-01-05", valueCodeableConcept=concept(LOINC, "LA6576-8")),
            lab("1751-7", "2019-12-20", 3.9, "g/dL"),
            dose("2018-03-01", "doxorubicin"),
        )
        row = cohort.patient(0)
        assert cohort.patients == ("a",)
        assert (row["disease"], row["ecog"], row["er_status"]) == ("breast_cancer", "ecog_1", "positive")
        assert row["albumin"] == pytest.approx(39.0)
        assert row["age"] == pytest.approx(60.0, abs=0.01)
        assert row["months_diagnosis_to_relapse"] == pytest.approx(24.0, abs=0.05)
        assert row["months_followed"] == pytest.approx(24.0, abs=0.05)
        assert (row["died"], row["prior_anthracycline"], row["prior_taxane"]) == (False, True, False)
        assert (row["prior_lines"], row["line_inferred"]) == (1, True)

    def test_a_value_from_after_the_index_date_is_never_used(self) -> None:
        early, late = lab("718-7", "2020-01-01", 11.0, "g/dL"), lab("718-7", "2020-01-02", 8.0, "g/dL")
        assert extract_bundle([*RELAPSED, early, late]).fields["haemoglobin"] == 11.0
        assert "haemoglobin" not in extract_bundle([*RELAPSED, late]).fields

    def test_the_index_date_is_the_latest_progression_or_the_first(self, tmp_path: Path) -> None:
        later = [*RELAPSED, status("2021-01-01")]
        assert extract_bundle(later).index_date == date(2021, 1, 1)
        cohort = read(tmp_path, *later, index_event="first relapse or progression")
        assert cohort.values["months_followed"][0] == pytest.approx(24.0, abs=0.05)
        assert cohort.provenance[0].index_event == "first relapse or progression"
        with pytest.raises(InvalidCohort, match="latest relapse or progression"):
            read(tmp_path, *later, index_event="diagnosis")

    def test_a_recurrent_condition_sets_time_zero(self) -> None:
        back = condition("back", "2019-06-01", clinicalStatus=concept("any", "recurrence"))
        found = extract_bundle([patient(), condition(), back, SEEN])
        assert found.index_date == date(2019, 6, 1)
        assert found.fields["disease_status"] == "relapsed"
        assert found.fields["months_diagnosis_to_relapse"] == pytest.approx(17.0, abs=0.1)

    def test_progression_without_a_response_is_not_called_a_relapse(self) -> None:
        assert "disease_status" not in extract_bundle(RELAPSED).fields
        assert (
            extract_bundle([*RELAPSED, status("2019-01-01", REMISSION)]).fields["disease_status"]
            == "relapsed"
        )

    def test_a_status_of_another_condition_is_no_evidence(self) -> None:
        heart = condition("heart", code="88805009")
        about = status("2021-01-01", focus=[{"reference": "Condition/heart"}])
        assert extract_bundle([*RELAPSED, heart, about]).index_date == date(2020, 1, 1)

    def test_death_ends_follow_up(self) -> None:
        found = extract_bundle([patient(deceasedDateTime="2021-01-01T10:00:00Z"), *RELAPSED[1:]])
        assert found.fields["died"] is True
        assert found.fields["months_followed"] == pytest.approx(12.0, abs=0.05)

    def test_what_is_entered_in_error_or_only_planned_was_not_given(self) -> None:
        wrong = dose("2019-01-01", "cisplatin", status="entered-in-error")
        draft = dose("2020-01-05", "docetaxel", "MedicationRequest", status="draft")
        past = dose("2019-01-05", "cisplatin", "MedicationRequest", status="draft")
        found = extract_bundle([*RELAPSED, wrong, draft, past]).fields
        assert found["plan_chemotherapy"] is True
        assert not [name for name in found if name.startswith("prior_")]

    def test_prior_treatment_is_before_the_index_date(self) -> None:
        radiation = resource("Procedure", "r", status="completed", code=concept(SCT, "1217123003"),
                             performedPeriod={"start": "2018-08-15"})  # fmt: skip
        found = extract_bundle([*RELAPSED, radiation, dose("2020-01-01", "paclitaxel")]).fields
        assert (found["prior_radiation"], found["prior_surgery"]) == (True, False)
        assert "prior_taxane" not in found

    def test_a_medication_may_stand_in_a_resource_of_its_own(self) -> None:
        ordered = dose("2018-03-01", "x", "MedicationRequest")
        del ordered["medicationCodeableConcept"]
        ordered["medicationReference"] = {"reference": "Medication/m"}
        named = {"resourceType": "Medication", "id": "m", "code": concept(RXNORM, "224905")}
        assert extract_bundle([*RELAPSED, ordered, named]).fields["prior_targeted_therapy"] is True

    def test_metastases_are_sites(self) -> None:
        found = extract_bundle([*RELAPSED, condition("m", "2019-12-01", "94381002")]).fields
        assert (found["site_liver"], found["site_bone"]) == (True, False)
        somewhere = condition("s", "2019-12-01", "128462008")
        assert "site_bone" not in extract_bundle([*RELAPSED, somewhere]).fields

    def test_an_icd_10_code_stands_for_what_it_begins_with(self) -> None:
        def disease(code: str, told: str = "") -> str | None:
            coded = condition()
            coded["code"] = concept("http://hl7.org/fhir/sid/icd-10-cm", code, told)
            return extract_bundle([patient(), coded]).fields.get("disease")  # type: ignore[return-value]

        assert (disease("C50.811"), disease("C83.37"), disease("C20")) == (
            "breast_cancer", "dlbcl", "colorectal_cancer",
        )  # fmt: skip
        assert (disease("C34.1"), disease("C34.1", "Squamous cell carcinoma")) == (None, "nsclc")
        assert (disease("C34.1", "Small cell carcinoma"), disease("I50.3")) == ("sclc", None)

    def test_the_code_maps_name_fields_and_diseases_of_the_dictionary(self) -> None:
        terms, dictionary = load_terminology(), load_dictionary()
        open_ended = {"lung", "brain", "unspecified", "outside", "secondary", "somewhere"}
        meanings = {*terms.conditions.values(), *terms.maps["body_sites"].values()} - open_ended
        diseases = set(dictionary["disease"].category_names)
        assert {m for m in meanings - diseases if m not in dictionary} == set()
        classes = {name for drug in terms.drugs.values() for name in drug.classes}
        assert {name for name in classes if f"prior_{name}" not in dictionary} == set()
        assert set(terms.fields.values()) <= set(dictionary.names)
        assert {kind for _, kind in terms.histology} <= set(dictionary["histology"].category_names)

    def test_ldh_over_its_upper_limit(self) -> None:
        ranges = [{"high": {"value": 250, "code": "U/L"}}]
        found = extract_bundle([*RELAPSED, lab("2532-0", "2020-01-01", 500, "U/L", referenceRange=ranges)])
        assert (found.fields["ldh"], found.fields["ldh_ratio"]) == (500.0, 2.0)

    @pytest.mark.parametrize("unit", ["10*3/uL", "10^9/L", "K/uL", "10*9/l"])
    def test_units_in_their_spellings(self, unit: str) -> None:
        assert extract_bundle([*RELAPSED, lab("777-3", "2020-01-01", 210, unit)]).fields["platelets"] == 210.0

    @pytest.mark.parametrize(
        ("code", "value", "unit", "asked"),
        [
            ("1751-7", 38, "g/dL", "albumin fits g/L better than g/dL: did you mean g/L?"),
            ("1751-7", 3.8, "g/L", "albumin fits g/dL better than g/L: did you mean g/dL?"),
            ("1751-7", 3.8, "", "albumin has no unit: did you mean g/dL?"),
            ("1751-7", 1000, "", "albumin has no unit"),
            ("777-3", 210000, "10*9/L", "platelets fits /uL better than 10*9/L: did you mean /uL?"),
        ],
    )
    def test_a_unit_that_is_missing_or_contradicted_is_asked_about(
        self, code: str, value: float, unit: str, asked: str
    ) -> None:
        found = extract_bundle([*RELAPSED, lab(code, "2020-01-01", value, unit)])
        (question,) = found.units_in_question.values()
        assert (question.problem, found.value_problems) == (asked, (question,))

    def test_a_stated_unit_is_converted(self) -> None:
        found = extract_bundle([*RELAPSED, lab("718-7", "2020-01-01", 7.5, "mmol/L")])
        assert found.fields["haemoglobin"] == pytest.approx(12.08, abs=0.01)
        assert found.units_in_question == {}

    def test_a_whole_number_without_a_unit_is_asked_about_as_any_other(self) -> None:
        whole = observation("1751-7", "2020-01-01", valueInteger=38)
        assert set(extract_bundle([*RELAPSED, whole]).units_in_question) == {"albumin"}

    def test_a_missing_unit_that_could_only_be_one_is_a_plain_problem(self) -> None:
        found = extract_bundle([*RELAPSED, lab("2039-6", "2020-01-01", 4.0, "")])
        assert [p.problem for p in found.value_problems] == ["cea has no unit"]
        assert found.units_in_question == {}

    def test_a_field_without_meaning_in_the_disease_is_left_out_and_noted(self) -> None:
        found = extract_bundle([*RELAPSED, lab("10334-1", "2020-01-01", 35, "U/mL")])
        assert "ca_125" not in found.fields
        assert found.notes["ca_125: has no meaning in this disease and is left out"] == 1


def made_dose(day: str, name: str) -> Dose:
    drug = Drug(name, ("endocrine_therapy" if name == "endocrine" else "chemotherapy",))
    entry = LocatedResource({}, "", ReferenceScope())
    return Dose(DatedResource(entry, None), drug, date.fromisoformat(day))


class TestLines:
    def test_lines_as_recorded_are_not_inferred(self) -> None:
        system = "http://hl7.org/fhir/us/codex-mopa/CodeSystem/"
        second = resource(
            "Observation", "l", code=concept(system + "ocpa-codes", "line-of-therapy"), status="final",
            valueCodeableConcept=concept(system + "treatment-line-cs", "2L"),
            effectivePeriod={"start": "2019-05-01"},
        )  # fmt: skip
        found = extract_bundle([*RELAPSED, second, dose("2018-03-01", "doxorubicin")]).fields
        assert (found["prior_lines"], found["line_inferred"]) == (2, False)

    @pytest.mark.parametrize(
        ("given", "worsened", "lines"),
        [
            ([("2018-01-01", "a"), ("2018-02-01", "b")], [], 1),
            ([("2018-01-01", "a"), ("2018-04-01", "a")], ["2018-03-01"], 2),
            ([("2018-01-01", "a"), ("2019-01-01", "b")], [], 2),
            ([("2018-01-01", "a"), ("2019-01-01", "a")], [], 1),
            ([("2018-01-01", "a"), ("2019-01-01", "endocrine")], [], 1),
            ([("2018-03-01", "a"), ("2018-03-01", "b")], ["2018-03-01"], 1),
        ],
    )
    def test_lines_are_inferred(self, given: Any, worsened: Any, lines: int) -> None:
        doses = [made_dose(day, name) for day, name in given]
        assert inferred_lines(doses, [date.fromisoformat(day) for day in worsened]) == lines


class TestLeftOut:
    def test_everyone_left_out_is_counted_by_reason(self, tmp_path: Path) -> None:
        other = [patient(), condition(code="92814006"), status("2020-01-01"), SEEN]
        gone = [patient(), condition(), status("2022-01-01"), SEEN]
        calm = [patient(), condition(), SEEN]
        for number, records in enumerate((RELAPSED, other, gone, calm)):
            text = orjson.dumps(bundle(*records)).replace(b'"a"', f'"p{number}"'.encode())
            text = text.replace(b"Patient/a", f"Patient/p{number}".encode())
            (tmp_path / f"{number}.json").write_bytes(text)
        attrition = build_cohort(FhirRecipe(evidence="real"), tmp_path).provenance[0].attrition
        assert (attrition.read, attrition.kept) == (4, 1)
        assert [step.excluded for step in attrition.exclusions] == [1, 1, 1]

    def test_codes_not_read_and_partial_dates_are_stated(self, tmp_path: Path) -> None:
        records = [*RELAPSED, observation("2857-1", "2019-01-01"), condition("old", "2017")]
        stated = " ".join(read(tmp_path, *records).provenance[0].selection)
        assert "loinc 2857-1 is not read (1)" in stated
        assert "middle of its year or month (1)" in stated


class TestBulkExport:
    def test_resources_of_many_patients_in_several_files(self, tmp_path: Path) -> None:
        for kind in ("Patient", "Condition", "Observation", "Encounter"):
            lines = []
            for name in ("a", "b"):
                texts = [json.dumps(r) for r in RELAPSED if r["resourceType"] == kind]
                changed = [t.replace('Patient/a"', f'Patient/{name}"') for t in texts]
                lines += [t.replace('"id": "a"', f'"id": "{name}"') for t in changed]
            (tmp_path / f"{kind}.ndjson").write_text("\n".join(lines) + "\n")
        assert build_cohort(FhirRecipe(evidence="synthetic"), tmp_path).patients == ("a", "b")

    def test_a_truncated_line_is_named_with_the_others(self, tmp_path: Path) -> None:
        good = json.dumps(patient())
        (tmp_path / "a.ndjson").write_text(f"{good}\n{{bad\n{good[:30]}")
        said = refused(tmp_path)
        assert "a.ndjson line 2: is not JSON" in said
        assert "a.ndjson line 3: is not JSON" in said

    def test_a_resource_without_a_patient(self, tmp_path: Path) -> None:
        orphan = {"resourceType": "Observation", "id": "o", "code": concept(LOINC, "718-7")}
        (tmp_path / "a.ndjson").write_text(json.dumps(orphan))
        assert "Observation/o: names no patient" in refused(tmp_path)


CASES = {
    "two patients": ([*RELAPSED, patient(id="b")], "holds two patients"),
    "another's resource": (
        [*RELAPSED, {**condition("z"), "subject": {"reference": "Patient/b"}}],
        "Condition/z: is about another patient",
    ),
    "no patient": ([{"resourceType": "Medication", "id": "m"}], "has no patient"),
    "no Patient resource": (RELAPSED[1:], "has no Patient resource"),
    "unit": (
        [*RELAPSED, lab("1751-7", "2020-01-01", 39, "kg")],
        "Observation/1751-7-2020-01-01: albumin is in kg; expected g/L or g/dL",
    ),
    "no unit": (
        [*RELAPSED, lab("1751-7", "2020-01-01", 39, "")],
        "albumin has no unit: did you mean g/L?; expected g/L",
    ),
    "range": ([*RELAPSED, lab("718-7", "2020-01-01", 900, "g/dL")], "haemoglobin is out of range"),
    "before birth": ([*RELAPSED, condition("old", "1950-01-01")], "Condition/old: is dated before birth"),
    "died before": ([patient(deceasedDateTime="2019-01-01"), *RELAPSED[1:]], "died before the index date"),
    "died on no day": ([patient(deceasedBoolean=True), *RELAPSED[1:]], "died on no day"),
    "two deaths": (
        [
            patient(deceasedDateTime="2021-01-01"),
            *RELAPSED[1:],
            observation("81956-5", "2021-06-01", valueDateTime="2021-05-01"),
        ],
        "two different deaths",
    ),
    "no date": (
        [*RELAPSED, condition("odd", "01.02.2018")],
        "Condition/odd: carries something that is no date",
    ),
}


class TestRefused:
    @pytest.mark.parametrize("case", CASES)
    def test_what_is_wrong_is_named(self, tmp_path: Path, case: str) -> None:
        resources, expected = CASES[case]
        assert expected in refused(write(tmp_path, *resources))

    def test_every_problem_at_once(self, tmp_path: Path) -> None:
        wrong = [*RELAPSED, lab("1751-7", "2020-01-01", 39, "kg"), condition("old", "1950-01-01")]
        write(tmp_path, *wrong, name="first.json")
        (tmp_path / "second.json").write_text("{")
        said = refused(tmp_path)
        assert "albumin is in kg" in said
        assert "before birth" in said
        assert "second.json: is not JSON" in said

    def test_two_records_of_one_patient_must_agree(self, tmp_path: Path) -> None:
        write(tmp_path, *RELAPSED, name="1.json")
        write(tmp_path, patient(birthDate="1971-01-01"), name="2.json")
        assert "two different birth dates" in refused(tmp_path)

    def test_a_path_without_fhir(self, tmp_path: Path) -> None:
        assert "holds no FHIR" in refused(tmp_path)
        assert "does not exist" in refused(tmp_path / "none.json")
        (tmp_path / "a.csv").write_text("a\n")
        assert "unknown kind" in refused(tmp_path / "a.csv")

    def test_evidence_must_be_said(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidCohort, match="synthetic or real"):
            build_cohort(FhirRecipe(evidence=""), write(tmp_path, *RELAPSED))

    def test_a_problem_never_shows_the_value(self, tmp_path: Path) -> None:
        assert "912.25" not in refused(write(tmp_path, *RELAPSED, lab("718-7", "2020-01-01", 912.25, "g/dL")))


def load(name: str) -> Any:
    return orjson.loads((SHARED / name).read_bytes())


def published(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted(SHARED.glob(f"{folder}/*.json"))]


@examples
class TestPublishedExamples:
    def test_jenny_m(self) -> None:
        found = extract_bundle(load("mcode-examples/cancer-patient-jenny-m.json"))
        expected = {"disease": "breast_cancer", "stage_at_relapse": "stage_2", "ecog": "ecog_0",
                    "er_status": "positive", "pr_status": "negative", "her2": "negative"}  # fmt: skip
        assert expected.items() <= found.fields.items()
        assert found.disease_status == "improved"
        assert found.excluded == "no relapse or progression recorded"
        # The example states 3000 thousand neutrophils a microlitre.
        asked = "neutrophils fits /uL better than 10*3/uL: did you mean /uL?"
        assert [p.problem for p in found.problems] == [asked]

    @pytest.mark.parametrize("file", published("mcode-examples", "synthea-breast", "mopa"), ids=str)
    def test_every_bundle_is_read(self, file: Path) -> None:
        resource = orjson.loads(file.read_bytes())
        extract_bundle(resource if resource["resourceType"] == "Bundle" else [resource])

    @pytest.mark.parametrize(
        ("name", "patients"),
        [("mcode-examples", 7), ("synthea-breast", 35), ("mopa", 1), ("cancer_bundle_patient_86.json", 1)],
    )
    def test_every_folder_is_read_and_counted(self, name: str, patients: int) -> None:
        attrition = build_cohort(FhirRecipe(evidence="synthetic"), SHARED / name).provenance[0].attrition
        assert (attrition.read, attrition.kept) == (patients, 0)

    def test_an_order_is_a_plan(self) -> None:
        order = load("mopa/Bundle-ExampleOrderSignBundle.json")
        assert extract_bundle(order).fields == {"plan_chemotherapy": True, "plan_targeted_therapy": True}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["Patient", "Bundle", "Patient/a", WORSENED, SCT, LOINC, "2020-01-01", "2020", "a"])
)
NAMES = st.sampled_from(
    [
        "resourceType",
        "id",
        "code",
        "coding",
        "system",
        "subject",
        "reference",
        "entry",
        "resource",
        "status",
        "valueQuantity",
        "value",
        "unit",
        "effectiveDateTime",
        "onsetDateTime",
        "clinicalStatus",
        "period",
    ]
)
GARBAGE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
RECORDS = [*RELAPSED, dose("2018-01-01", "paclitaxel"), lab("718-7", "2019-01-01", 11, "g/dL")]
KEYS = sorted({key for item in RECORDS for key in item})


class TestGarbage:
    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary(max_size=60) | GARBAGE.map(orjson.dumps), st.sampled_from([".json", ".ndjson"]))
    def test_random_files_are_read_or_refused(self, content: bytes, suffix: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"a{suffix}"
            file.write_bytes(content)
            try:
                build_cohort(FhirRecipe(evidence="synthetic"), file)
            except InvalidCohort as refusal:
                assert refusal.problems  # noqa: PT017  being refused is as good as being read

    @settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def test_a_record_with_any_part_replaced_never_breaks(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(RECORDS) - 1))
        changed = {**RECORDS[at], data.draw(st.sampled_from(KEYS)): data.draw(GARBAGE)}
        extract_bundle([*RECORDS[:at], changed, *RECORDS[at + 1 :]])
