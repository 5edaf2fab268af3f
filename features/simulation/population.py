"""Simulated populations: predictors drawn by setting from ``populations.yaml``.

Each value is a function of one standard normal score. Scores share two latent factors, fitness and tumour
burden (a Gaussian copula with two factors), so that a patient's predictors are correlated.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from scipy.special import ndtri

from features.dictionary import FloatArray, load_dictionary
from features.simulation.derived import complete
from features.simulation.evidence import read_yaml

Spec = Mapping[str, Any]
Values = dict[str, FloatArray]


def draw_patients(disease: str, setting: str, patients: int, *, rng: np.random.Generator) -> Values:
    """Return the predictors of simulated patients as dictionary fields, without missing values.

    Each array has shape (patients,): numbers in the field's unit, flags 0/1, categories as their position.
    """
    fitness, burden = rng.standard_normal(patients), rng.standard_normal(patients)
    values: Values = {}
    for name, spec in specification(disease, setting).items():
        score = _score(spec, fitness, burden, rng)
        values[name] = _value(name, spec, score)
    code = float(load_dictionary()["disease"].category_names.index(disease))
    values["disease"] = np.full(patients, code)
    complete(disease, values, rng=rng)
    return {name: v for name, v in values.items() if load_dictionary()[name].applies(disease)}


@cache
def specification(disease: str, setting: str) -> Mapping[str, Spec]:
    """Return how each field is drawn: by the setting's rule, else the disease's, else the common one."""
    declared = populations()
    merged = declared["common"] | declared["diseases"][disease] | declared["settings"][disease][setting]
    return {name: spec for name, spec in merged.items() if spec is not None}


@cache
def populations() -> dict[str, Any]:
    """Return the declarations of ``populations.yaml``."""
    return read_yaml("populations.yaml")


def _score(spec: Spec, fitness: FloatArray, burden: FloatArray, rng: np.random.Generator) -> FloatArray:
    on_fitness, on_burden = spec.get("fitness", 0.0), spec.get("burden", 0.0)
    score = rng.standard_normal(fitness.size)
    score *= np.sqrt(1.0 - on_fitness**2 - on_burden**2)
    if on_fitness:
        score += on_fitness * fitness
    if on_burden:
        score += on_burden * burden
    return score


def _value(name: str, spec: Spec, score: FloatArray) -> FloatArray:
    value: FloatArray
    if "chance" in spec:
        value = (score > ndtri(1.0 - spec["chance"])).astype(np.float64)
        return value
    if "shares" in spec:
        return _category(name, spec["shares"], score)
    if "lognormal" in spec:
        median, sigma = spec["lognormal"]
        value = median * np.exp(sigma * score)
    else:
        mean, sd = spec["normal"]
        value = mean + sd * score
    cut: FloatArray = np.clip(np.round(value, spec["decimals"]), spec["low"], spec["high"])
    return cut


def _category(name: str, shares: Mapping[Any, float], score: FloatArray) -> FloatArray:
    names = load_dictionary()[name].category_names
    codes = np.array([float(names.index(key)) if isinstance(key, str) else float(key) for key in shares])
    bounds: FloatArray = ndtri(np.minimum(np.cumsum(list(shares.values()))[:-1], 1.0))
    drawn: FloatArray = codes[np.searchsorted(bounds, score)]
    return drawn
