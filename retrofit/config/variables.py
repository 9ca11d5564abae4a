"""Variables of the environment that set settings; each one that nobody reads is named.

`RETROFIT_SOURCE_TRUST=signed`, with one underscore, sets nothing: a person who wrote it believes
that sources are verified.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from retrofit.config.numbers import FromEnvironment

ENV_PREFIX = "RETROFIT_"
ENV_DELIMITER = "__"
OTHERS = frozenset({"RETROFIT_CONFIG", "RETROFIT_COMPLETE"})
"""Read by the command line and by completion."""
_OF_KUBERNETES = re.compile(
    r"RETROFIT(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""Kubernetes sets these in every container beside a service called `retrofit` or `retrofit-web`."""
_PORT_OF_KUBERNETES = re.compile(r"(tcp|udp|sctp)://.+")
"""The value of `RETROFIT_PORT` and `RETROFIT_WEB_PORT` there."""


class Variables(EnvSettingsSource):
    """Settings of the environment, marked as such: everything is a string there."""

    def __call__(self) -> dict[str, Any]:
        """Return the settings as the file would nest them."""
        found: dict[str, Any] = _marked(super().__call__())
        target = found.get("target")
        if isinstance(target, dict):
            found["target"] = {name: _decoded(self, table) for name, table in target.items()}
        return found

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return a list or table that is written as JSON, anything else as it stands.

        The error of its setting names it then; pydantic-settings names a section alone.
        """
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


def unread_variables(environment: Mapping[str, str], document: type[BaseModel]) -> Iterator[str]:
    """Report each variable with our prefix that sets nothing, and what may have been meant."""
    for variable in sorted(environment):
        name, value = variable.upper(), environment[variable]
        if not name.startswith(ENV_PREFIX) or name in OTHERS or _is_of_kubernetes(name, value):
            continue
        if not (variable + value).isprintable() and _is_broken(variable + value):
            yield f"{variable!a}: is not valid UTF-8"
            continue
        section, delimiter, rest = name.removeprefix(ENV_PREFIX).lower().partition(ENV_DELIMITER)
        if section not in document.model_fields:
            yield f"{variable}: {_unknown(name, section, bool(delimiter), document)}"
        elif delimiter and not all(rest.split(ENV_DELIMITER)):
            yield f"{variable}: names no setting; the form is {ENV_PREFIX}SECTION__KEY"


def _is_of_kubernetes(name: str, value: str) -> bool:
    if _OF_KUBERNETES.fullmatch(name):
        return True
    return name.endswith("_PORT") and bool(_PORT_OF_KUBERNETES.fullmatch(value))


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _unknown(name: str, section: str, delimited: bool, document: type[BaseModel]) -> str:
    meant = _meant(name, document)
    if delimited:
        close = difflib.get_close_matches(section, document.model_fields, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        return f"unknown section {section!r}{guess}"
    guess = f"; did you mean {meant}?" if meant else "; unset it, or give it another prefix"
    return f"sets nothing{guess}"


def _meant(name: str, document: type[BaseModel]) -> str | None:
    """Return the variable that `name` was probably meant to be: often with two underscores."""
    known = {
        f"{ENV_PREFIX}{section}{ENV_DELIMITER}{key}".upper()
        for section, field in document.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    }
    by_letters = {re.sub("_+", "_", each): each for each in sorted(known)}
    plain = re.sub("_+", "_", name)
    if plain in by_letters:
        return by_letters[plain]
    if plain.startswith(f"{ENV_PREFIX}TARGET_"):
        return f"{ENV_PREFIX}TARGET__NAME__SECTION__KEY"
    close = difflib.get_close_matches(plain, sorted(by_letters), n=1, cutoff=0.8)
    return (
        by_letters[close[0]]
        if close
        else next(
            (
                each
                for each in sorted(OTHERS)
                if difflib.get_close_matches(name, [each], cutoff=0.8)
            ),
            None,
        )
    )


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return FromEnvironment(value)
    if isinstance(value, dict):
        return {str(key): _marked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_marked(each) for each in value]
    return value


def _decoded(source: Variables, value: Any) -> Any:
    """Decode lists and tables in a target's settings, whose types the source does not know."""
    if isinstance(value, dict):
        return {key: _decoded(source, each) for key, each in value.items()}
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        return _marked(source.decode_complex_value("target", FieldInfo(), str(value)))
    return value
