"""Open Inference Protocol v2: each endpoint of each served model as a model of tensors."""
