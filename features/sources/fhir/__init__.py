"""FHIR R4 with mCODE, read into a validated cohort, or one patient's fields."""

from features.sources.fhir.door import FhirDoor, FhirRecipe
from features.sources.fhir.extract import Extracted, extract_bundle

__all__ = ["Extracted", "FhirDoor", "FhirRecipe", "extract_bundle"]
