"""README's table of settings, made from the settings themselves; run it to write it there."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from retrofit.settings_file import Document

README = Path(__file__).parents[1] / "README.md"
NAMES = {str: "string", bool: "true, false", int: "integer", type(None): "", PurePath: "path"}


def table() -> str:
    """Return the table as Markdown."""
    return "\n".join(rows()) + "\n"


def rows() -> Iterator[str]:
    yield "| setting | value | default | what it decides |"
    yield "| --- | --- | --- | --- |"
    for section in (name for name in Document.model_fields if name != "target"):
        model = Document.model_fields[section].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for key, field in model.model_fields.items():
            value = _kind(field.annotation)
            yield f"| `{section}.{key}` | {value} | {_default(field)} | {field.description} |"


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", ".join(filter(None, map(_kind, arguments)))
    if origin is tuple:
        return f"list of {_kind(arguments[0])}s"
    if origin is dict:
        return "table of strings"
    return next(name for kind, name in NAMES.items() if issubclass(annotation, kind))


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined or value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    README.write_text(
        re.sub(r"(?m)^\| setting \|.*\n(\|.*\n)*", lambda _: table(), README.read_text())
    )
