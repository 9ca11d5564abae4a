"""Options and actions of the charm, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.reference.markdown import code, one_line, table

MANIFEST = Path(__file__).resolve().parents[2] / "charm" / "charmcraft.yaml"
INTRODUCTION = """\
# The charm

Options and actions of the machine charm in `charm/`. [From Juju](../how-to/juju.md) shows how to
deploy it.
"""


def body() -> str:
    """Return the page."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    options = table(
        ("Option", "Type", "Default", "Description"),
        [
            (f"`{name}`", each["type"], _default(each["default"]), one_line(each["description"]))
            for name, each in manifest["config"]["options"].items()
        ],
    )
    parts = [INTRODUCTION, "## Options\n", options, "## Actions\n"]
    for name, action in manifest["actions"].items():
        parts.append(f"### {name}\n\n{one_line(action['description'])}\n")
        parts.append(table(("Parameter", "Type", "Default", "Description"), _parameters(action)))
    return "\n".join(parts)


def _parameters(action: Mapping[str, Any]) -> list[tuple[str, ...]]:
    required = action.get("required", ())
    return [
        (
            f"`{name}`",
            each["type"],
            "(required)" if name in required else _default(each.get("default", "")),
            one_line(each["description"]),
        )
        for name, each in action["params"].items()
    ]


def _default(value: object) -> str:
    return code(str(value).lower() if isinstance(value, bool) else str(value))
