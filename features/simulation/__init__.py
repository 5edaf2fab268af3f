"""Simulated cohorts whose arms reproduce published trials, with known truth. Every patient is synthetic."""
