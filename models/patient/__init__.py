"""One patient beside the training cohort: applicability, typicality, imputation, next tests, plans."""
