"""Patients' diseases from condition codes, by the dictionary's SNOMED CT and ICD-10 codes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from features.dictionary import Field
from features.sources.omop.cdm import ANCESTORS, Cdm, listed

ICD = ("ICD10CM", "ICD10")
NO_DISEASE = "no condition code that stands for one disease of the dictionary"
SEVERAL_DISEASES = "condition codes of several diseases"


@dataclass(frozen=True)
class ConceptDiseases:
    """By condition concept, the diseases that it may stand for."""

    meant: Mapping[int, frozenset[str]]

    def decide(self, concepts: Iterable[int]) -> frozenset[str]:
        """Return the diseases that concepts state; a concept that may stand for several states none."""
        each = (self.meant.get(concept, frozenset()) for concept in concepts)
        return frozenset().union(*(names for names in each if len(names) == 1))


def icd_diseases(code: str, *, disease: Field) -> frozenset[str]:
    """Return the diseases of an ICD-10 code: those whose declared code is its longest prefix.

    >>> from features.dictionary import load_dictionary
    >>> sorted(icd_diseases("C83.31", disease=load_dictionary()["disease"]))
    ['dlbcl']
    >>> sorted(icd_diseases("C34.1", disease=load_dictionary()["disease"]))
    ['nsclc', 'sclc']
    """
    declared = [(c.codes["icd10"], c.name) for c in disease.categories if "icd10" in c.codes]
    begun = [(prefix, name) for prefix, name in declared if code.startswith(prefix)]
    longest = max((len(prefix) for prefix, _ in begun), default=0)
    return frozenset(name for prefix, name in begun if len(prefix) == longest)


def read_diseases(cdm: Cdm, *, disease: Field) -> ConceptDiseases:
    """Read the condition concepts of the dictionary's codes, and their descendants.

    ICD-10 codes match by their longest declared prefix. SNOMED CT codes match exactly and, where the CDM has
    ``concept_ancestor``, with all descendants in any vocabulary, each taking its nearest ancestor's disease.
    """
    snomed = {c.codes["snomed"]: c.name for c in disease.categories if "snomed" in c.codes}
    prefixes = sorted({c.codes["icd10"] for c in disease.categories if "icd10" in c.codes})
    like = " OR ".join(f"concept_code LIKE '{prefix}%'" for prefix in prefixes)
    codes = ", ".join(f"'{code}'" for code in sorted(snomed))
    vocabularies = ", ".join(f"'{name}'" for name in ICD)
    concepts = cdm.read(
        f"SELECT concept_id, vocabulary_id, concept_code FROM {cdm.table('concept')} "
        f"WHERE (vocabulary_id = 'SNOMED' AND concept_code IN ({codes})) "
        f"OR (vocabulary_id IN ({vocabularies}) AND ({like}))"
    )
    meant: dict[int, frozenset[str]] = {}
    exact: dict[int, str] = {}
    for concept, vocabulary, code in concepts.itertuples(index=False):
        if vocabulary == "SNOMED":
            exact[int(concept)] = snomed[code]
        else:
            meant[int(concept)] = icd_diseases(code, disease=disease)
    descended = _descendants(cdm, exact) if cdm.has_ancestors and exact else {}
    return ConceptDiseases(
        meant | descended | {concept: frozenset({name}) for concept, name in exact.items()}
    )


def _descendants(cdm: Cdm, exact: Mapping[int, str]) -> dict[int, frozenset[str]]:
    frame = cdm.read(
        f"SELECT ancestor_concept_id, descendant_concept_id, min_levels_of_separation "
        f"FROM {cdm.table(ANCESTORS)} WHERE ancestor_concept_id IN ({listed(exact)})"
    )
    nearest = frame.groupby("descendant_concept_id")["min_levels_of_separation"].transform("min")
    near = frame[frame["min_levels_of_separation"] == nearest]
    names = near["ancestor_concept_id"].map(exact)
    grouped = names.groupby(near["descendant_concept_id"])
    return {int(str(concept)): frozenset(group) for concept, group in grouped}


def patient_diseases(
    evidence: Iterable[pd.DataFrame], diseases: ConceptDiseases, *, persons: Iterable[int]
) -> dict[int, frozenset[str]]:
    """Return each person's diseases from the first table of evidence that states any.

    Each table of evidence has the columns ``person_id`` and ``concept_id``, the strongest kind first.
    """
    decided: dict[int, frozenset[str]] = {int(person): frozenset() for person in persons}
    for table in evidence:
        known = table[table["concept_id"].isin(list(diseases.meant))]
        for person, concepts in known.groupby("person_id")["concept_id"]:
            number = int(str(person))
            if number in decided and not decided[number]:
                decided[number] = diseases.decide(int(c) for c in concepts)
    return decided
