"""JSON schemas as tables: one for each kind of object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tools.reference.markdown import one_line, table

HEAD = ("Key", "Type", "Description")
PLAIN = frozenset({"string", "integer", "number", "object"})


def tables(schema: Mapping[str, Any], *, title: str) -> str:
    """Return a table of the schema's own keys under `title`, then one for each definition."""
    shapes = schema.get("$defs", {})
    parts = [f"## {title}\n", _text(schema), table(HEAD, _rows(schema, shapes))]
    for name, shape in shapes.items():
        if "properties" in shape:
            parts += [f"### {_short(name)}\n", _text(shape), table(HEAD, _rows(shape, shapes))]
    return "\n".join(part for part in parts if part)


def _text(schema: Mapping[str, Any]) -> str:
    text = one_line(schema.get("description", "").partition("\n\n")[0])
    return f"{text}\n" if text else ""


def _rows(
    schema: Mapping[str, Any], shapes: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, ...]]:
    for name, each in schema["properties"].items():
        yield f"`{prefix}{name}`", _type(each, shapes), one_line(each.get("description"))
        if "properties" in each:
            yield from _rows(each, shapes, f"{prefix}{name}.")


def _type(schema: Mapping[str, Any], shapes: Mapping[str, Any]) -> str:
    """Return the type of a value in words; an object that has a table is a link to it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        shape = shapes[name]
        if "properties" not in shape:
            return _type(shape, shapes)
        nothing = " or null" if "null" in shape.get("type", ()) else ""
        short = _short(name)
        return f"[{short}](#{short.lower()}){nothing}"
    if "anyOf" in schema:
        return " or ".join(_type(each, shapes) for each in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{'null' if each is None else each}`" for each in schema["enum"])
    kinds = schema.get("type", "any")
    named = [kinds] if isinstance(kinds, str) else list(kinds)
    return " or ".join(_named(kind, schema, shapes) for kind in named)


def _named(kind: str, schema: Mapping[str, Any], shapes: Mapping[str, Any]) -> str:
    if kind == "array":
        items = schema.get("items", {})
        of = _type(items, shapes)
        return f"list of {of}s" if of in PLAIN else f"list of {of}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'], shapes)}"
    if kind == "string" and (
        schema.get("format") == "date-time" or "T" in schema.get("pattern", "")
    ):
        return "time"
    return kind


def _short(name: str) -> str:
    """Return the name of a model as the pages have it."""
    return name.removesuffix("Document")
