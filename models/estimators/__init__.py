"""Estimators, one a file: what is fitted to a cohort and answers with probabilities."""
