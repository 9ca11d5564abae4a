"""The status document, from its JSON schema."""

from __future__ import annotations

from retrofit.status.models import json_schema
from tools.reference import schema

INTRODUCTION = """\
# Status document

The answer of `/api/v2/status`; `/api/v2/schema` is its JSON schema, from which this page is made.
`retrofit status -f json` prints its targets. Within a version, keys are only added.
Times are ISO 8601 with an offset, durations are seconds, ages are days, sizes are bytes.
"""


def body() -> str:
    """Return the page."""
    document = json_schema()
    return f"{INTRODUCTION}\n{schema.tables({**document, 'description': ''}, title='Document')}"
