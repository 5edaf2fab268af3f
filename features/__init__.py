"""What a patient row means: dictionary, cohorts, index date, endpoints, encoding."""
