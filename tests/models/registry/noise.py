"""Third-party warnings that importing or calling MLflow, SQLAlchemy and shap brings, and nothing else."""

import pytest

NOISE = [
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The set_.* function will be deprecated:PendingDeprecationWarning"),
]
