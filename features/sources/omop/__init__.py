"""The OMOP Common Data Model 5.4, with the oncology extension's episodes, as a source of cohorts."""

from features.sources.omop.extract import read_omop

__all__ = ["read_omop"]
