"""The one room that imports MLflow: tracking runs, registering bundles, naming the champion."""

import os

# MLflow reads these when it is first imported, which is why they cannot arrive as arguments.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
