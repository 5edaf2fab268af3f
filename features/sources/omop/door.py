"""The door to OMOP databases: from a CDM's address to the cohort of whose cancer progressed or came back."""

from features.cohort import PATIENT, Cohort, Provenance
from features.dictionary import load_dictionary
from features.sources.omop.cdm import open_cdm
from features.sources.omop.extract import Indexed, include, read_indexed
from features.sources.omop.recipe import OmopRecipe


class OmopDoor:
    """A database in the OMOP Common Data Model 5.4 with the oncology extension's episodes."""

    name = "OMOP CDM"
    inputs = "a database's address (KIND://HOST/NAME, KIND:///FILE)"
    follows = OmopRecipe

    def recognises(self, source: str) -> bool:
        """Take every text: what is no address, or no CDM, is named when it is opened."""
        return True

    def read(self, recipe: OmopRecipe, source: str) -> Cohort:
        """Return the cohort of everyone whom the recipe's index rule gives an index date.

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
        return Cohort.from_frame(frame, dictionary=dictionary.slice(names), provenance=(provenance,))


def _selection(recipe: OmopRecipe, indexed: Indexed) -> tuple[str, ...]:
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
