"""Simulated cohorts calibrated to published trials, with known true probabilities; all synthetic."""
