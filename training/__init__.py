"""From a cohort to a registered model."""
