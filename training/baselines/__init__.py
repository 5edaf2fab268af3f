"""The baselines that a model must beat, of each kind of endpoint.

One knows the disease alone (Kaplan-Meier, the share of responders, Aalen-Johansen). The others are
regressions: disease is a covariate there, as the encoder shows it, and the mean stands for a missing value.
"""
