"""Every setting, from the models that read the configuration."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from retrofit.config import Target
from retrofit.config.file import TARGET_SECTIONS, Document
from retrofit.config.numbers import Within
from retrofit.config.variables import ENV_DELIMITER, ENV_PREFIX
from tools.reference.markdown import table

INTRODUCTION = f"""\
# Settings

retrofit reads one TOML file: the one named by `--config` or `RETROFIT_CONFIG`, else
`/etc/retrofit/retrofit.toml`. Without a file, defaults and the environment apply.
`retrofit config check` reports every mistake, `retrofit config show` prints every setting in force.

Each setting has an environment variable, which wins over the file:
`{ENV_PREFIX}PUBLISH{ENV_DELIMITER}KEEP=3` stands for `keep = 3` under `[publish]`. Lists and
tables are written as JSON there:
`{ENV_PREFIX}SOURCE{ENV_DELIMITER}SERIES='["jammy"]'`.

A table `[target.NAME.SECTION]` overrides a section for one target. It may hold
{{sections}}: see [Several targets](../how-to/several-targets.md).
"""
TARGET_TABLE = """\
A target, and the names that it had before. [Changed
names](../explanation/identity.md#changed-names) has the steps of a rename."""
NAMES = {str: "string", bool: "`true`, `false`", int: "integer", PurePath: "path"}
HEAD = ("Setting, environment variable", "Value", "Default", "Description")


def body() -> str:
    """Return the page."""
    listed = [f"`{name}`" for name in TARGET_SECTIONS]
    sections = f"{', '.join(listed[:-1])} and {listed[-1]}"
    parts = [INTRODUCTION.format(sections=sections)]
    parts.append(f"## [target.NAME]\n\n{TARGET_TABLE}\n")
    parts.append(table(HEAD, [_formerly()]))
    for section, model in sections_of(Document):
        parts.append(f"## [{section}]\n\n{(model.__doc__ or '').strip()}\n")
        parts.append(table(HEAD, rows_of(section, model)))
    return "\n".join(parts)


def _formerly() -> tuple[str, ...]:
    """Return the row of the only setting of a target that is in no section."""
    field = Target.model_fields["formerly"]
    variable = f"{ENV_PREFIX}TARGET{ENV_DELIMITER}NAME{ENV_DELIMITER}FORMERLY"
    name = f"`target.NAME.formerly`<br>`{variable}`"
    return name, _kind(field.annotation), _default(field), str(field.description)


def sections_of(document: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the sections of the file with their models, in order."""
    for name, field in document.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield name, model


def rows_of(section: str, model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield name, kind of value, default and description of each setting of a section."""
    for key, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for name, kind, default, description in rows_of(f"{section}.{key}", inner):
                yield name, kind, default, description
            continue
        variable = f"{ENV_PREFIX}{section}{ENV_DELIMITER}{key}".replace(".", ENV_DELIMITER).upper()
        kind = _kind(field.annotation) + _bounds(field.metadata)
        name = f"`{section}.{key}`<br>`{variable}`"
        yield name, kind, _default(field), str(field.description)
        for each in typing.get_args(inner):
            if isinstance(each, type) and issubclass(each, BaseModel):
                for of_table, *rest in rows_of(f"{section}.{key}[]", each):
                    # A list of tables has one variable, for all of it.
                    yield (of_table.partition("<br>")[0], *rest)


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(arguments[0]) + _bounds(arguments[1:])
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", ".join(_kind(each) for each in arguments if each is not type(None))
    if origin is tuple:
        of = _kind(arguments[0])
        return f"list of {of}" if of.startswith("`") else f"list of {of}s"
    if origin is dict:
        return "table of strings"
    if issubclass(annotation, BaseModel):
        return "table"
    return next(name for kind, name in NAMES.items() if issubclass(annotation, kind))


def _bounds(metadata: Any) -> str:
    """Return the numbers that a value may take, such as ` (1 to 20)`."""
    bounds = next((each for each in metadata if isinstance(each, Within)), None)
    return "" if bounds is None else f" ({bounds.least} to {bounds.most})"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined or value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
