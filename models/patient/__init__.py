"""One patient beside the training cohort: applicability, typicality, completion, next tests, plans."""
