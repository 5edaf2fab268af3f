"""Where cohorts come from: recipes turn a source's table into a validated cohort."""
