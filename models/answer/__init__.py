"""An answer put together: one endpoint's numbers, one patient's prediction, its JSON."""
