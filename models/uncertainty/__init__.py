"""Uncertainty: intervals around probabilities, conformal lower bounds on survival time."""
