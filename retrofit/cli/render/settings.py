"""The configuration in force."""

from __future__ import annotations

from retrofit.cli.form import Form
from retrofit.cli.render.form import structured
from retrofit.config import Settings
from retrofit.config.secrets import masked


def show_settings(settings: Settings, output: Form | str) -> None:
    """Print every setting in force; credentials are masked."""
    document = masked(settings.model_dump(mode="json"))
    form = Form.of(output)
    structured(document, form if form.format == "json" else "yaml")
