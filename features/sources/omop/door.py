"""The door to OMOP databases: from a CDM's address to a validated cohort."""

from features.cohort import PATIENT, Cohort, Provenance
from features.dictionary import load_dictionary
from features.sources.omop.cdm import open_cdm
from features.sources.omop.extract import IndexedPatients, include, read_indexed
from features.sources.omop.recipe import OmopRecipe


class OmopDoor:
    """A database in the OMOP Common Data Model 5.4 with the oncology extension's episodes."""

    name = "OMOP CDM"
    inputs = "a database's address (KIND://HOST/NAME, KIND:///FILE)"
    follows = OmopRecipe

    def recognises(self, source: str) -> bool:
        """Accept any text; opening names what is not an address, or not a CDM."""
        return True

    def read(self, recipe: OmopRecipe, source: str) -> Cohort:
        """Return the cohort of everyone with the recipe's index episode.

        Raises:
            InvalidCohort: naming every missing table and column, and by its id every record that breaks a
                rule.
            MissingExtra: when the database's driver is not installed.

        """
        recipe.require_known_choices()
        dictionary = load_dictionary()
        with open_cdm(source, schema=recipe.schema) as cdm:
            indexed = read_indexed(cdm, recipe, dictionary)
            citation = recipe.citation or f"OMOP CDM 5.4, {cdm.database.name}"
        frame, attrition = include(indexed)
        provenance = Provenance(
            recipe=recipe.name,
            evidence=recipe.evidence,
            source=citation,
            terms=recipe.terms,
            index_event=recipe.index_rule.event,
            selection=_selection(recipe, indexed),
            attrition=attrition,
        )
        names = dictionary.ordered(name for name in frame.columns if name != PATIENT)
        return Cohort.from_frame(
            frame, dictionary=dictionary.slice(names), provenance=(provenance,), units_stated=True
        )


def _selection(recipe: OmopRecipe, indexed: IndexedPatients) -> tuple[str, ...]:
    lab_days, grace_days = recipe.lab_days, recipe.death_grace_days
    stated = [
        f"laboratory values are the latest of the {lab_days} days up to the index date",
        "lines before the index date are treatment episodes; a treatment that is not recorded is not counted",
        f"follow-up ends with the observation period; deaths up to {grace_days} days after it count",
    ]
    if indexed.follow_up.late_deaths:
        stated.append(f"{indexed.follow_up.late_deaths} deaths recorded later than that are not counted")
    if indexed.laboratory.left_out:
        stated.append(f"{indexed.laboratory.left_out} laboratory values in unknown units were left out")
    return tuple(stated)
