"""Numbers and switches mean what is written, and every clock can hold them."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from retrofit.config import Settings
from retrofit.config.file import Document, parse
from retrofit.config.numbers import NEVER, Flag, Within, days, hours
from retrofit.errors import ConfigError
from tools.reference.settings import sections_of

FLAG = typing.get_args(Flag)[1]


def numbers() -> Iterator[tuple[str, str, FieldInfo, Within | None]]:
    for section, model in sections_of(Document):
        for key, field in model.model_fields.items():
            annotations = (field.annotation, *typing.get_args(field.annotation))
            if int in annotations or int in [
                inner for each in annotations for inner in typing.get_args(each)
            ]:
                yield section, key, field, _bounds(field)


def _bounds(field: FieldInfo) -> Within | None:
    metadata = list(field.metadata)
    for each in typing.get_args(field.annotation):
        metadata += typing.get_args(each)[1:]
    return next((each for each in metadata if isinstance(each, Within)), None)


NUMBERS = list(numbers())
NAMES = [f"{section}.{key}" for section, key, _, _ in NUMBERS]


def read(section: str, key: str, value: str) -> Settings:
    return parse(f"[{section}]\n{key} = {value}\n".encode(), Path("retrofit.toml"))


def refused(section: str, key: str, value: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(section, key, value)
    return caught.value.message


@pytest.mark.parametrize(("section", "key", "field", "bounds"), NUMBERS, ids=NAMES)
def test_every_number_has_bounds_that_a_clock_can_hold(
    section: str, key: str, field: FieldInfo, bounds: Within | None
) -> None:
    assert bounds is not None, field
    assert bounds.most <= 2**25
    for value in ("99999999", "9999999999", "1000000000000000", str(2**63 - 1), "-1"):
        assert f"{section}.{key}: expected a whole number from" in refused(section, key, value)
    read(section, key, str(bounds.most))
    read(section, key, str(bounds.least))


@pytest.mark.parametrize(("section", "key", "field", "bounds"), NUMBERS, ids=NAMES)
@pytest.mark.parametrize(
    "value", ["true", "false", "5.0", '"5"', "inf", "nan", "[5]", "1979-05-27"]
)
def test_nothing_else_is_a_number(
    section: str, key: str, field: FieldInfo, bounds: Within, value: str
) -> None:
    message = refused(section, key, value)
    assert f"{section}.{key}: expected a whole number from {bounds.least}" in message
    assert ("without quotes" in message) == (value == '"5"')


@pytest.mark.parametrize(
    "name",
    ["publish.retire_after", "publish.retire_after_unknown", "publish.stale_after",
     "publish.reread", "source.max_age", "build.max_age", "notify.give_up_after",
     "web.healthy_within"],
)  # fmt: skip
def test_never_is_a_word_where_it_may_be_meant(name: str) -> None:
    section, key = name.split(".")
    settings = read(section, key, '"never"')
    holder: Any = getattr(settings, section, None) or getattr(settings.targets[0], section)
    assert getattr(holder, key) == NEVER
    assert 'or "never"' in refused(section, key, "99999999")


def test_never_is_longer_than_any_age() -> None:
    age = datetime.max.replace(tzinfo=UTC) - datetime.min.replace(tzinfo=UTC)
    assert hours(NEVER) > age
    assert days(NEVER) > age
    assert hours(24) == days(1)


def switches() -> list[tuple[str, str]]:
    return [
        (section, key)
        for section, model in sections_of(Document)
        for key, field in model.model_fields.items()
        if field.annotation is bool
    ]


@pytest.mark.parametrize(("section", "key"), switches())
@pytest.mark.parametrize("value", ['"off"', "0", "1", '"true"', "0.0"])
def test_a_switch_is_true_or_false(section: str, key: str, value: str) -> None:
    assert f"{section}.{key}: expected true or false" in refused(section, key, value)


def test_every_switch_is_read_so() -> None:
    for section, model in sections_of(Document):
        for key, field in model.model_fields.items():
            assert field.annotation is not bool or FLAG in field.metadata, f"{section}.{key}"


@pytest.mark.parametrize(
    ("text", "meant"), [("on", True), ("0", False), ("TRUE", True), ("no", False)]
)
def test_a_variable_holds_strings_alone(
    monkeypatch: pytest.MonkeyPatch, text: str, meant: bool
) -> None:
    monkeypatch.setenv("RETROFIT_PUBLISH__HIDE", text)
    monkeypatch.setenv("RETROFIT_PUBLISH__KEEP", " 5")
    monkeypatch.setenv("RETROFIT_PUBLISH__RETIRE_AFTER", "never")
    monkeypatch.setenv("RETROFIT_TARGET__TWO__SOURCE__SERIES", json.dumps(["jammy"]))
    publish = parse(b"", None).targets[0].publish
    assert (publish.hide, publish.keep, publish.retire_after) == (meant, 5, NEVER)
    monkeypatch.setenv("RETROFIT_PUBLISH__HIDE", "maybe")
    with pytest.raises(ConfigError, match=r"publish\.hide: expected true or false"):
        parse(b"", None)


def test_what_was_accepted_and_clear_is_still_accepted() -> None:
    """Of 0.1.0's configurations: numbers in their bounds, and booleans of `build.upgrade`."""
    for value in ("true", '"no"', '"packages"'):
        read("build", "upgrade", value)
    read("publish", "retire_after", str(100 * 365 * 24))
    read("web", "healthy_within", str(100 * 365 * 24))  # what the charm of 0.1.0 writes for never
