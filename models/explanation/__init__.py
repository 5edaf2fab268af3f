"""Explanations: contributions of predictors that sum to the predicted probability."""
