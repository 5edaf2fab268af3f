"""Predictions with explanations, on record."""
