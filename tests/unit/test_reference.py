"""Generated pages are those of the code: `make reference` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from retrofit.model import Outcome
from retrofit.operations.status import DEGRADED_EXIT_CODE, NO_IMAGE_EXIT_CODE
from retrofit.publish.evidence import PROPERTIES
from retrofit.publish.properties import AT_CREATION, LATER
from tools import reference
from tools.reference import checks, exit_codes
from tools.reference.exit_codes import family
from tools.reference.schema import tables

ROOT = Path(__file__).resolve().parents[2]
STALE = "is stale: run `make reference`, and commit what it wrote"


@pytest.mark.parametrize("name", reference.BODIES)
def test_reference_page_is_current(name: str) -> None:
    page = reference.DIRECTORY / name
    assert page.exists(), f"{page} {STALE}"
    assert page.read_text() == reference.page(reference.BODIES[name]()), f"{page} {STALE}"


def test_every_exit_code_is_listed() -> None:
    rows = dict(re.findall(r"(?m)^\| (\d+) \| (.*) \|$", exit_codes.body()))
    assert set(map(int, rows)) == {
        *(0, DEGRADED_EXIT_CODE, NO_IMAGE_EXIT_CODE),
        *(kind.exit_code for kind in family()),
    }
    assert all(row.rpartition("|")[2].strip() for row in rows.values())


def test_every_check_has_a_description() -> None:
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| ([^|]*) \|", checks.body())
    assert len(rows) > 50
    assert [name for name, text in rows if not text.strip()] == []
    assert {str(outcome) for outcome in Outcome} <= checks.OUTCOMES.keys()


def test_properties_that_the_code_names_are_listed() -> None:
    named = {
        name
        for room in ("publish", "plan", "operations", "produce", "fleet")
        for path in (ROOT / "retrofit" / room).rglob("*.py")
        for name in re.findall(r'"(retrofit_[a-z0-9_]+)"', path.read_text())
    }
    assert {"retrofit_promoted_at", "retrofit_recipe"} <= named
    assert named <= AT_CREATION.keys() | LATER.keys() | PROPERTIES.keys()


def test_schema_becomes_tables_with_links_to_objects() -> None:
    schema = {
        "properties": {
            "name": {"type": "string", "description": "A name."},
            "part": {"anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}]},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
            "word": {"$ref": "#/$defs/Word"},
        },
        "$defs": {
            "Part": {"description": "One part.", "properties": {"size": {"type": "integer"}}},
            "Word": {"enum": ["a", "b"]},
        },
    }
    text = tables(schema, title="Whole")
    assert "| `name` | string | A name. |" in text
    assert "| `part` | [Part](#part) or null |  |" in text
    assert "| `parts` | list of [Part](#part) |  |" in text
    assert "| `word` | `a`, `b` |  |" in text
    assert "### Part\n\nOne part.\n" in text
    assert "### Word" not in text
