"""The JSON schemas of a server itself, which it has jsonschema check with every request.

Glance does so with each property that a request changes: nine tenths of the time of a PATCH with
twenty of them. A schema that passed stays right.
"""

from __future__ import annotations

import json
from functools import cache

from jsonschema.validators import validator_for


def check_once() -> None:
    """Have the process check each schema once."""
    validator = validator_for({})  # of schemas that name no draft
    check = validator.check_schema

    @cache
    def checked(text: str) -> None:
        check(json.loads(text))

    def remembered(schema: object) -> None:
        checked(json.dumps(schema, sort_keys=True))

    validator.check_schema = staticmethod(remembered)  # type: ignore[method-assign]
