"""Descriptions of settings are what the reference and `config show` consist of."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator

import pytest
from pydantic.fields import FieldInfo

from retrofit.config import Settings
from retrofit.config.file import Document
from tools.reference.settings import sections_of

UNIT = re.compile(r"\b(seconds|minutes|hours|days|MiB|GiB|number|TCP port)\b", re.IGNORECASE)


def settings() -> Iterator[tuple[str, FieldInfo]]:
    for section, model in sections_of(Document):
        for key, field in model.model_fields.items():
            yield f"{section}.{key}", field


@pytest.mark.parametrize(("name", "field"), list(settings()), ids=[name for name, _ in settings()])
def test_each_is_a_sentence_and_each_number_has_its_unit(name: str, field: FieldInfo) -> None:
    description = field.description or ""
    assert re.fullmatch(r"[A-Za-z`/].*\.", description), name
    kinds = (field.annotation, *typing.get_args(field.annotation))
    if int in kinds:
        assert UNIT.search(description), name


def test_none_is_left_out() -> None:
    """All sections of the configuration, but the targets that they make."""
    assert {name for name, _ in sections_of(Document)} >= set(Settings.model_fields) - {"targets"}
