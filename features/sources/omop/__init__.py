"""The OMOP Common Data Model 5.4, with the oncology extension's episodes, as a source of cohorts."""

from features.sources.omop.door import OmopDoor
from features.sources.omop.recipe import OmopRecipe

__all__ = ["OmopDoor", "OmopRecipe"]
