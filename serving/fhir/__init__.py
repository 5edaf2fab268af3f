"""FHIR R4: a patient's Bundle in; RiskAssessment, AuditEvent, Provenance and OperationOutcome out."""
