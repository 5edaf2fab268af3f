"""Open Inference Protocol v2: each endpoint of a served model is a model with tensors."""
