"""Questions beyond one prediction: plans compared, explanations over several horizons."""
