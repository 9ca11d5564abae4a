"""Configuration files as tests write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Document = Mapping[str, Mapping[str, Any]]


def toml(document: Document) -> str:
    """Return sections of plain values, lists and paths as TOML, which has JSON's literals."""
    lines = []
    for section, values in document.items():
        lines += [f"[{section}]", *(f"{key} = {_literal(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)
