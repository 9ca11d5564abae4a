"""The configuration in force."""

from __future__ import annotations

from typing import Any

from retrofit.config import Settings
from retrofit.redaction import MASK, redacted_document, redacted_variables
from retrofit.render.form import structured


def show_settings(settings: Settings, output: str) -> None:
    """Print every setting in force; credentials in addresses are masked."""
    document: dict[str, Any] = redacted_document(settings.model_dump(mode="json"))
    for target in document["targets"]:
        target["build"]["environment"] = redacted_variables(target["build"]["environment"])
    # Whoever knows the address of a webhook may often write to it.
    if settings.notify.url:
        scheme, _, rest = str(document["notify"]["url"]).partition("://")
        document["notify"]["url"] = f"{scheme}://{rest.partition('/')[0]}/{MASK}"
    structured(document, "yaml" if output == "table" else output)
