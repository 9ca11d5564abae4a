"""Configurations by chance, drawn from the models that read them: right, odd and senseless values.

A new setting is drawn as soon as it is there: by its type, its bounds and its choices. Sections
but one are drawn fit by themselves.
"""

from __future__ import annotations

import json
import types
import typing
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from retrofit.config.addresses import Address
from retrofit.config.file import Document
from retrofit.config.numbers import Within
from tools.reference.settings import sections_of

SECTIONS = dict(sections_of(Document))
SECRET = "p1anted-S3cret"
"""In every address, variable and token of a configuration by chance."""


class Raw(str):
    """A value as TOML writes it, such as a date."""

    __slots__ = ()


NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 5, 59, 60, 61, 3600, 10**5, 99_999_999, 9_999_999_999, 10**12, 10**15, 2**63 - 1,
     -(2**63)]
)  # fmt: skip
WORDS = st.sampled_from(
    ["never", "false", "0", "5", "", " ", "~", "~/x", "relative", "a b", "a\nb", "\x00", "\x7f",
     "#", "?", "%", "%2F", "x" * 300, "é", "\u2011", "..", "/", "//", "/dev/null", "a,b", "-", "*",
     "0 3 * * *", "0 0 30 2 *", "* * * * *", "host:port", "[::1", "http://[::1]:80/", "noble"]
) | st.text(max_size=12)  # fmt: skip
DATES = st.sampled_from(["1979-05-27T07:32:00Z", "1979-05-27", "07:32:00"])
JUNK: st.SearchStrategy[Any] = st.recursive(
    NUMBERS | WORDS | st.booleans() | st.floats() | DATES.map(Raw),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
HOSTS = ["127.0.0.1:9", "mirror.invalid", "[::1]:9", f"user:{SECRET}@127.0.0.1:9", "h:port",
         "h:99999", f"user:{SECRET}/x@h", f"u:{SECRET}#@h", "a b", ""]  # fmt: skip
PATHS = ["data", "data/deep", "big disk", "a,b", "a#b", "a?b", "ä", "a:b", "'", "a%20b", "link"]
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "series": st.sampled_from(["noble", "jammy", "focal"]),
    "architecture": st.sampled_from(["x86_64", "aarch64"]),
    "cron": st.sampled_from(["0 3 * * *", "*/7 1-5 1,15 * mon-fri", "0 0 29 2 *", "0 0 31 2 *",
                             "0 0 30 2 *", "0 0 31 4,6 *", "60 * * * *"]),
    "release": st.sampled_from(["2025.1", "16.0.1", "2024.2", "x"]),
    "packages": st.just("tcpdump"),
    "agent_version": st.sampled_from(["16.0.0", "16.0.0rc1", "99999999999", "16.*", "x"]),
    "address": st.sampled_from(["127.0.0.1", "::1", "0.0.0.0", "host"]),
}  # fmt: skip
"""Words that mean something, by the name of their setting."""


def documents(stressed: str, directory: Path) -> st.SearchStrategy[dict[str, dict[str, Any]]]:
    """Draw sections: sensible ones, and one in which anything may stand."""
    drawn = {
        name: st.fixed_dictionaries(
            {},
            optional={
                key: _value(key, field, directory, odd=name == stressed)
                for key, field in model.model_fields.items()
            },
        )
        for name, model in SECTIONS.items()
    }
    fit = {name: each.map(partial(_fit, SECTIONS[name])) for name, each in drawn.items()}
    others = {name: each for name, each in fit.items() if name != stressed}
    return st.fixed_dictionaries(
        {stressed: st.one_of(drawn[stressed], fit[stressed], fit[stressed])}, optional=others
    )


def _fit(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is refused by itself: of two settings in three nothing else would be left."""
    kept = {}
    for key, value in values.items():
        with suppress(ValidationError):
            model.model_validate({key: value})
            kept[key] = value
    return kept


def variables(directory: Path) -> st.SearchStrategy[dict[str, str]]:
    """Draw variables of the environment: of settings, misspelled, and of others."""
    known = [
        (f"RETROFIT_{section}__{key}".upper(), key, field)
        for section, model in SECTIONS.items()
        for key, field in model.model_fields.items()
    ]
    one = st.sampled_from(known).flatmap(
        lambda each: st.tuples(
            st.sampled_from([each[0], each[0], each[0].replace("__", "_"), each[0].lower(),
                             f"{each[0]}__X", f"{each[0]}_"]),
            _value(each[1], each[2], directory, odd=True).map(_as_variable),
        )
    )  # fmt: skip
    strange = st.tuples(
        st.sampled_from(["RETROFIT_PAUSED", "RETROFIT_", "RETROFIT___", "RETROFIT_PUBLISH",
                         "RETROFIT_SERVICE_HOST", "RETROFIT_PORT_9817_TCP", "RETROFIT_TARGET"]),
        st.sampled_from(["1", "", "tcp://10.0.0.1:9817", '{"keep": 1}', "[" * 900]),
    )  # fmt: skip
    return st.lists(one | strange, max_size=2).map(dict)


def _as_variable(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("\x00", "").encode(errors="replace").decode()


def _value(key: str, field: FieldInfo, directory: Path, *, odd: bool) -> st.SearchStrategy[Any]:
    sensible = _of(key, field.annotation, tuple(field.metadata), directory)
    return st.one_of(sensible, sensible, sensible, JUNK) if odd else sensible


def _of(
    key: str, annotation: Any, metadata: tuple[Any, ...], directory: Path
) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    bounds = next((each for each in metadata if isinstance(each, Within)), None)
    if bounds is not None:
        return _number(bounds)
    if any(isinstance(each, Address) for each in metadata):
        return _address(key, next(each for each in metadata if isinstance(each, Address)))
    if origin is typing.Annotated:
        return _of(key, arguments[0], (*metadata, *arguments[1:]), directory)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        kinds = [each for each in arguments if each is not type(None)]
        return st.one_of(*(_of(key, each, (), directory) for each in kinds))
    if origin is tuple:
        inner = _of(key, arguments[0], (), directory)
        return st.lists(inner, min_size=1, max_size=2, unique_by=str)
    if origin is dict:
        # A value is a credential by the name of its variable, and no other one is masked.
        names = st.sampled_from(["DIB_FOO", "hw_rng_model", "os_type", "A B"])
        plain = st.tuples(names, st.sampled_from(["1", "virtio"]))
        secret = st.tuples(st.just("DIB_REPO_AUTH"), st.sampled_from(["1", SECRET]))
        return st.lists(plain | secret, max_size=2).map(dict)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return st.fixed_dictionaries(
            {},
            optional={
                name: _of(name, field.annotation, tuple(field.metadata), directory)
                for name, field in annotation.model_fields.items()
            },
        )
    if annotation is bool:
        return st.booleans()
    if isinstance(annotation, type) and issubclass(annotation, PurePath):
        return _path(key, directory)
    if key == "url":
        schemes = st.sampled_from(["redis://", "etcd3+http://", "zookeeper://", "mysql://"])
        return st.tuples(schemes, st.sampled_from(HOSTS)).map("".join)
    return PLAIN.get(key, st.sampled_from(["octavia-amphora", "one", "two", "server"]))


def _number(bounds: Within) -> st.SearchStrategy[Any]:
    inside = st.sampled_from([bounds.least, bounds.most]) | st.integers(bounds.least, bounds.most)
    words = st.just("never") if bounds.never else st.nothing()
    return inside | words


def _address(key: str, address: Address) -> st.SearchStrategy[str]:
    secret = [f"/services/{SECRET}", f"/?token={SECRET}"] if key == "url" else []
    ends = st.sampled_from(["", "/", "/path", *secret])
    schemes = st.sampled_from([f"{each}://" for each in address.schemes] + [""])
    return st.tuples(schemes, st.sampled_from(HOSTS), ends).map("".join)


def _path(key: str, directory: Path) -> st.SearchStrategy[str]:
    """Draw a path below `directory`: these are made by the runs that follow."""
    if key in {"state", "cache", "work", "logs"}:
        names = st.sampled_from([*PATHS, key, key, key, key])
    elif key == "textfile":
        names = st.just("retrofit.prom")
    else:
        names = st.sampled_from(["file", "elements", "absent", "world-writable"])
    return names.map(lambda name: str(directory / name))


def toml(document: dict[str, dict[str, Any]]) -> str:
    """Write sections as TOML."""
    lines = []
    for section, values in document.items():
        lines += [f"[{section}]", *(f"{_text(key)} = {_literal(v)}" for key, v in values.items())]
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        pairs = (f"{_text(key)} = {_literal(each)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return _text(value) if isinstance(value, str) else str(value)


def _text(text: str) -> str:
    escaped = "".join(
        f"\\U{ord(letter):08x}" if not letter.isprintable() else letter
        for letter in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped.encode(errors="replace").decode()}"'
