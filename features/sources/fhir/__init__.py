"""The FHIR door: mCODE Bundles and bulk exports read into a validated cohort."""

from features.sources.fhir.door import read_fhir
from features.sources.fhir.extract import Extracted, extract_bundle

__all__ = ["Extracted", "extract_bundle", "read_fhir"]
