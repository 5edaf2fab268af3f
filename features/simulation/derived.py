"""Predictors that follow from others, so that a simulated patient's values are consistent."""

import numpy as np

from features.dictionary import FloatArray, load_dictionary

Values = dict[str, FloatArray]
ORGANS = ("site_liver", "site_lung", "site_bone", "site_brain", "site_peritoneum", "site_marrow")
LYMPHOMAS = ("hodgkin_lymphoma", "dlbcl", "other_nhl")
LEUKAEMIAS = ("aml", "all_leukaemia")
# Months from platinum to relapse from which a patient is resistant, partially sensitive, sensitive.
PLATINUM = {
    "ovarian_cancer": (1.0, 6.0, 12.0),
    "sclc": (1.0, 3.0, 3.0),
    "germ_cell_tumour": (1.0, 3.0, 3.0),
}
UPPER_NORMAL_LDH = 240.0  # U/L, a common upper limit
KARNOFSKY_OF_ECOG = np.array([90.0, 80.0, 60.0, 40.0, 20.0])  # and half of the patients ten points more
MENOPAUSE = 51.0  # years


def complete(disease: str, values: Values, *, rng: np.random.Generator) -> None:
    """Add the derived predictors of a disease to its patients, in place."""
    _performance(values, rng)
    _blood(disease, values, rng)
    _sites(disease, values)
    _lesions(values, rng)
    if disease == "germ_cell_tumour":
        _marker_response(values, rng)
    _history(disease, values, rng)
    if disease in LYMPHOMAS:
        _lymphoma(values)
    if disease == "aml":
        _core_binding_factor(values, rng)
    if disease in PLATINUM:
        _platinum(PLATINUM[disease], values)
    if disease == "breast_cancer":
        female = values["sex"] == code("sex", "female")
        after = (values["age"] > MENOPAUSE).astype(np.float64)
        values["menopausal_status"] = np.where(female, after, np.nan)


def code(field: str, category: str) -> float:
    """Return the number that encodes a category."""
    return float(load_dictionary()[field].category_names.index(category))


def _performance(values: Values, rng: np.random.Generator) -> None:
    grade = values["ecog"].astype(np.int64)
    values["karnofsky"] = KARNOFSKY_OF_ECOG[grade] + 10.0 * (rng.random(grade.size) < 0.5)
    values["karnofsky_group"] = (values["karnofsky"] >= 90).astype(np.float64)


def _blood(disease: str, values: Values, rng: np.random.Generator) -> None:
    neutrophils, lymphocytes = values["neutrophils"], values["lymphocytes"]
    others = np.full(neutrophils.size, 0.5)
    if disease in LEUKAEMIAS and "circulating_blasts" in values:
        others = others + values["circulating_blasts"] * rng.lognormal(1.8, 1.0, neutrophils.size)
    values["white_cells"] = np.round(np.minimum(neutrophils + lymphocytes + others, 900.0), 2)
    if disease not in LEUKAEMIAS:
        values["neutrophil_lymphocyte_ratio"] = np.round(neutrophils / lymphocytes, 2)
    values["ldh"] = np.round(values["ldh_ratio"] * UPPER_NORMAL_LDH)


def _sites(disease: str, values: Values) -> None:
    if "stage_at_relapse" in values:
        organs = [values[name] for name in ORGANS if name in values]
        if disease in LYMPHOMAS:
            early = values["stage_at_relapse"] < code("stage_at_relapse", "stage_4")
            for flag in organs:
                flag[early] = 0.0
        else:
            spread = np.sum(organs, axis=0) > 0
            values["stage_at_relapse"][spread] = code("stage_at_relapse", "stage_4")
    present = [flag for name, flag in values.items() if name.startswith("site_")]
    values["sites_of_disease"] = np.maximum(np.sum(present, axis=0), 1.0)


def _lesions(values: Values, rng: np.random.Generator) -> None:
    if "tumour_burden" in values:
        share = rng.uniform(0.35, 1.0, values["tumour_burden"].size)
        values["largest_lesion"] = np.round(values["tumour_burden"] * share)


def _marker_response(values: Values, rng: np.random.Generator) -> None:
    """Draw the best prior response consistent with the marker-based response: its neighbour, or the worst."""
    kind = values["germ_cell_response"]
    better = rng.random(kind.size) < 0.5
    values["prior_best_response"] = np.minimum(kind + np.where(better, 0.0, 1.0), 2.0) + (kind == 2.0)


def _history(disease: str, values: Values, rng: np.random.Generator) -> None:
    responded = values["prior_best_response"] <= code("prior_best_response", "partial_response")
    gap: FloatArray = values["months_treatment_end_to_relapse"]
    if disease in LEUKAEMIAS:
        values["months_of_response"] = np.where(responded, values["months_of_response"], 0.0)
        gap = np.maximum(values["months_of_response"] - 4.0, 0.0).round(1)
    else:
        if disease in LYMPHOMAS:
            gap = np.where(responded, gap, np.minimum(gap, 2.0))
        values["months_of_response"] = np.where(responded, np.round(gap + 2.0, 1), 0.0)
    values["months_treatment_end_to_relapse"] = gap
    treated = 5.0 + 7.0 * (values["prior_lines"] - 1.0) + rng.uniform(0.0, 3.0, gap.size)
    values["months_diagnosis_to_relapse"] = np.round(treated + gap, 1)
    if "disease_status" not in values:
        values["disease_status"] = _status(values, responded)
    transplanted = values.get("prior_autologous_transplant", np.zeros(gap.size)) == 1.0
    transplanted |= values.get("prior_allogeneic_transplant", np.zeros(gap.size)) == 1.0
    values["months_since_transplant"] = np.where(transplanted, np.round(gap + 1.0, 1), np.nan)


def _status(values: Values, responded: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> FloatArray:
    first = values["prior_lines"] <= 1.0
    early = values["months_of_response"] < 12.0
    kinds = [~responded & first, ~responded, early]
    names = ("primary_refractory", "refractory", "early_relapse")
    chosen: FloatArray = np.select(
        kinds, [code("disease_status", name) for name in names], code("disease_status", "late_relapse")
    )
    return chosen


def _lymphoma(values: Values) -> None:
    organs = np.sum([values[name] for name in ORGANS if name in values], axis=0)
    values["extranodal_disease"] = np.maximum(values["extranodal_disease"], (organs > 0).astype(np.float64))
    values["bulky_disease"] = (values["largest_lesion"] >= 75.0).astype(np.float64)
    points: FloatArray = (
        (values["age"] > 60.0).astype(np.float64)
        + (values["ecog"] >= code("ecog", "ecog_2"))
        + (values["ldh_ratio"] > 1.0)
        + (values["stage_at_relapse"] >= code("stage_at_relapse", "stage_3"))
        + (organs > 1)
    )
    values["ipi_points"] = points
    values["ipi_at_relapse"] = np.digitize(points, [1.0, 3.0]).astype(np.float64)


def _core_binding_factor(values: Values, rng: np.random.Generator) -> None:
    favourable = values["cytogenetic_risk"] == code("cytogenetic_risk", "favourable")
    which = np.where(rng.random(favourable.size) < 0.5, 0.0, 1.0)
    values["aml_cytogenetics"] = np.where(favourable, which, code("aml_cytogenetics", "other"))


def _platinum(bounds: tuple[float, ...], values: Values) -> None:
    interval = values["months_treatment_end_to_relapse"]
    values["platinum_sensitivity"] = np.searchsorted(bounds, interval, side="right").astype(np.float64)
