"""cBioPortal study folders, written as its File-Formats page says, and every way in which they may not be."""

from pathlib import Path

import pandas as pd
import pytest

from features.dictionary import load_dictionary
from features.errors import InvalidCohort
from features.sources.build import build_cohort
from features.sources.cbioportal import StudyDoor, read_cbioportal, read_cbioportal_timelines
from features.sources.recipe import load_recipe, parse_recipe

PATIENTS = """\
#Patient Identifier\tSex\tAge\tOverall Survival Status\tOverall Survival (Months)\tBulky
#Patient identifier\tSex\tAge at diagnosis\tStatus\tMonths\tBulky disease
#STRING\tSTRING\tNUMBER\tSTRING\tNUMBER\tBOOLEAN
#1\t9\t8\t400\t400\t1
PATIENT_ID\tSEX\tAGE\tOS_STATUS\tOS_MONTHS\tBULKY
P1\tMale\t61.5\t1:DECEASED\t17.97\tTRUE
P2\tFemale\t[Not Available]\t0:LIVING\t63.01\tfalse
P3\tFemale\tNA\t0:LIVING\t12\t
"""
SAMPLES = """\
#Patient Identifier\tSample Identifier\tCancer Type\tSubtype
#Patient\tSample\tType\tSubtype
#STRING\tSTRING\tSTRING\tSTRING
#1\t1\t3000\t1
PATIENT_ID\tSAMPLE_ID\tCANCER_TYPE\tSUBTYPE
P1\tS1\tDLBCL\tGCB
P1\tS2\tDLBCL\tABC
P2\tS3\tDLBCL\t[Not Applicable]
P4\tS4\tDLBCL\tGCB
"""
TREATMENT = """\
PATIENT_ID\tSTART_DATE\tSTOP_DATE\tEVENT_TYPE\tTREATMENT_TYPE\tAGENT
P1\t12\t90\tTREATMENT\tMedical Therapy\tR-CHOP
P1\t400\t\tTREATMENT\tMedical Therapy\tR-ICE
P2\t-3\t20\tTREATMENT
"""
META = "cancer_study_identifier: made\ntype_of_cancer: dlbcl\nname: Made study\ndescription: none\n"


def _study(folder: Path, **files: str) -> Path:
    written = {
        "meta_study.txt": META,
        "data_clinical_patient.txt": PATIENTS,
        "data_clinical_sample.txt": SAMPLES,
        "data_timeline_treatment.txt": TREATMENT,
    }
    written |= {f"{name}.txt": text for name, text in files.items()}
    for name, text in written.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def _faults(error) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(p.field, p.problem, p.examples) for p in error.value.problems}


def test_one_row_a_patient_with_the_first_sample(tmp_path):
    frame = read_cbioportal(_study(tmp_path)).set_index("PATIENT_ID")
    assert frame.index.tolist() == ["P1", "P2", "P3", "P4"]
    assert frame.loc["P1", ["SAMPLE_ID", "SUBTYPE", "AGE", "BULKY"]].tolist() == ["S1", "GCB", 61.5, True]
    assert frame.loc["P2"].isna()[["AGE", "SUBTYPE"]].all()
    assert pd.isna(frame.loc["P3", "SAMPLE_ID"])
    assert pd.isna(frame.loc["P4", "OS_STATUS"])
    assert frame["OS_MONTHS"].dtype == float


def test_timelines_stand_beside_by_name(tmp_path):
    treatment = read_cbioportal_timelines(_study(tmp_path))["treatment"]
    assert treatment["START_DATE"].tolist() == [12, 400, -3]
    assert treatment["STOP_DATE"].isna().tolist() == [False, True, False]
    assert treatment["AGENT"].isna().tolist() == [False, False, True]


def test_meta_files_name_the_data_files(tmp_path):
    folder = _study(tmp_path, data_clinical_patient="", pat=PATIENTS)
    meta = "genetic_alteration_type: CLINICAL\ndatatype: PATIENT_ATTRIBUTES\ndata_filename: pat.txt\n"
    (folder / "meta_clinical_patient.txt").write_text(meta)
    assert len(read_cbioportal(folder)) == 4


def test_line_ends_of_windows_are_read(tmp_path):
    folder = _study(tmp_path)
    (folder / "data_clinical_patient.txt").write_bytes(PATIENTS.replace("\n", "\r\n").encode())
    assert read_cbioportal(folder)["BULKY"].tolist()[:2] == [True, False]


def test_a_recipe_turns_a_study_into_a_cohort(tmp_path):
    declared = {
        "name": "made",
        "title": "Made study",
        "evidence": "synthetic",
        "source": {"citation": "made", "terms": "none", "selection": ["made"]},
        "index_event": "diagnosis",
        "patient": "PATIENT_ID",
        "fields": {
            "disease": {"column": "CANCER_TYPE", "codes": {"DLBCL": "dlbcl"}},
            "age": {"column": "AGE"},
            "sex": {"column": "SEX", "codes": {"Male": "male", "Female": "female"}},
            "bulky_disease": {"column": "BULKY"},
            "months_followed": {"column": "OS_MONTHS", "unit": "months"},
            "died": {"column": "OS_STATUS", "codes": {"1:DECEASED": True, "0:LIVING": False}},
        },
    }
    recipe = parse_recipe(declared, dictionary=load_dictionary())
    cohort = build_cohort(recipe, _study(tmp_path))
    assert cohort.patients == ("P1", "P2", "P3", "P4")
    assert cohort.patient(0)["died"] is True
    assert cohort.patient(1)["age"] is None
    assert cohort.patient(2)["disease"] is None


def test_a_source_string_names_a_timeline(tmp_path):
    folder, any_recipe = _study(tmp_path), load_recipe("oak")
    assert len(StudyDoor().read(any_recipe, f"{folder}#treatment").patients) == 3
    with pytest.raises(InvalidCohort, match="treatment"):
        StudyDoor().read(any_recipe, f"{folder}#labs")


def test_every_fault_of_both_files_is_named_at_once(tmp_path):
    patients = PATIENTS.replace("61.5", ">89").replace("TRUE", "maybe").replace("P3\tFemale", "P2\tFemale")
    samples = SAMPLES.replace("S2", "S1").replace("P4\tS4", "NA\tS4").replace("CANCER_TYPE", "SEX")
    with pytest.raises(InvalidCohort) as error:
        read_cbioportal(_study(tmp_path, data_clinical_patient=patients, data_clinical_sample=samples))
    patient, sample = "data_clinical_patient.txt", "data_clinical_sample.txt"
    assert _faults(error) == {
        (f"{patient}: AGE", "is not a NUMBER", (1,)),
        (f"{patient}: BULKY", "is not a BOOLEAN", (1,)),
        (f"{patient}: PATIENT_ID", "stands in several rows", (2, 3)),
        (f"{sample}: SAMPLE_ID", "stands in several rows", (1, 2)),
        (f"{sample}: PATIENT_ID", "is missing", (4,)),
        ("SEX", "stands in both clinical files", ()),
    }
    assert "89" not in str(error.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("patients", "problem"),
    [
        (PATIENTS.split("\n", 1)[1], "does not describe its attributes"),
        (PATIENTS.replace("\tBOOLEAN", ""), "does not give every attribute a datatype"),
        (PATIENTS.replace("BOOLEAN", "FLAG"), "has an unknown datatype"),
        (PATIENTS.replace("P3\tFemale", "P3"), "has rows of another width than its header"),
        (PATIENTS.replace("\nPATIENT_ID", "\nID"), "column is missing"),
        (PATIENTS.replace("\tSEX\t", "\tAGE\t"), "names several columns"),
        ("\n", "is empty"),
        ("", "does not exist"),
    ],
)
def test_malformed_files_are_named(tmp_path, patients, problem):
    with pytest.raises(InvalidCohort) as error:
        read_cbioportal(_study(tmp_path, data_clinical_patient=patients))
    assert problem in {p.problem for p in error.value.problems}
    assert all("data_clinical_patient.txt" in p.field for p in error.value.problems)


def test_a_timeline_date_that_is_no_number_is_named(tmp_path):
    with pytest.raises(InvalidCohort) as error:
        read_cbioportal_timelines(
            _study(tmp_path, data_timeline_treatment=TREATMENT.replace("400", "2020-01-01"))
        )
    assert _faults(error) == {("data_timeline_treatment.txt: START_DATE", "is not a NUMBER", (2,))}


def test_files_of_another_encoding_are_named(tmp_path):
    folder = _study(tmp_path)
    (folder / "data_clinical_patient.txt").write_bytes(PATIENTS.encode("utf-16"))
    with pytest.raises(InvalidCohort, match="UTF-8"):
        read_cbioportal(folder)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(InvalidCohort, match="meta_study"):
        read_cbioportal(tmp_path)


def test_files_with_headers_alone_give_no_patient(tmp_path):
    heads = {
        name: "\n".join(text.split("\n")[:5]) + "\n"
        for name, text in (("data_clinical_patient", PATIENTS), ("data_clinical_sample", SAMPLES))
    }
    frame = read_cbioportal(_study(tmp_path, **heads))
    assert frame.empty
    assert "SUBTYPE" in frame
