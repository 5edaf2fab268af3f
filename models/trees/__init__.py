"""Boosted trees as plain arrays: read from xgboost's JSON, margins and exact path-dependent TreeSHAP."""
