"""Write the committed description of the API again: ``python -m tests.contract.refresh``."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from serving.app import create_app
from serving.audit.sequencer import Sequencer
from serving.audit.store import make_store
from serving.settings import ServingSettings

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
COMMAND = "python -m tests.contract.refresh"


def described() -> dict[str, Any]:
    """Return the API's description as the application gives it; it depends on no deployment."""
    nowhere = Path("nowhere")
    with closing(Sequencer(make_store(nowhere / "audit.db"))) as log:
        return create_app(ServingSettings(home=nowhere), log).openapi()


def text(description: dict[str, Any]) -> str:
    """Return the text that is committed."""
    return json.dumps(description, indent=1, sort_keys=False) + "\n"


if __name__ == "__main__":
    COMMITTED.write_text(text(described()), encoding="utf-8")
