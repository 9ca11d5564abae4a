"""The configuration in force."""

from __future__ import annotations

from retrofit.config import Settings
from retrofit.render.form import structured


def show_settings(settings: Settings, output: str) -> None:
    """Print every setting in force; there is no secret among them."""
    document = settings.model_dump(mode="json")
    structured(document, "yaml" if output == "table" else output)
