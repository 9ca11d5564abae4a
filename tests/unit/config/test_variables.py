"""Each variable with our prefix sets something, or is named."""

from __future__ import annotations

from typing import Any

import pytest

from retrofit.config.file import Document, parse
from retrofit.config.variables import unread_variables
from retrofit.errors import ConfigError


def named(**environment: str) -> list[str]:
    return list(unread_variables(environment, Document))


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("RETROFIT_SOURCE_TRUST", "sets nothing; did you mean RETROFIT_SOURCE__TRUST?"),
        ("RETROFIT_PUBLISH_KEEP", "sets nothing; did you mean RETROFIT_PUBLISH__KEEP?"),
        ("RETROFIT_PUBLISH_RETIRE_AFTER", "did you mean RETROFIT_PUBLISH__RETIRE_AFTER?"),
        ("retrofit_source_trust", "did you mean RETROFIT_SOURCE__TRUST?"),
        ("RETROFIT_CONFG", "sets nothing; did you mean RETROFIT_CONFIG?"),
        ("RETROFIT_PAUSED", "sets nothing; unset it"),
        ("RETROFIT_TARGET_NOBLE_PUBLISH_KEEP", "did you mean RETROFIT_TARGET__NAME__SECTION__KEY?"),
        ("RETROFIT_CLOUDS__NAME", "unknown section 'clouds'; did you mean 'cloud'?"),
        ("RETROFIT_PUBLISH__", "names no setting"),
        ("RETROFIT_", "sets nothing"),
    ],
)
def test_one_that_sets_nothing_is_named(variable: str, said: str) -> None:
    (problem,) = named(**{variable: "signed", "PATH": "/bin", "RETROFIT_CONFIG": "/etc/x"})
    assert problem.startswith(f"{variable}: ")
    assert said in problem


def test_config_check_and_every_command_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETROFIT_SOURCE_TRUST", "signed")
    with pytest.raises(ConfigError, match="did you mean RETROFIT_SOURCE__TRUST"):
        parse(b"", None)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RETROFIT_SERVICE_HOST", "10.0.0.1"),
        ("RETROFIT_SERVICE_PORT", "9817"),
        ("RETROFIT_SERVICE_PORT_HTTP", "9817"),
        ("RETROFIT_PORT", "tcp://10.0.0.1:9817"),
        ("RETROFIT_PORT_9817_TCP_ADDR", "10.0.0.1"),
        ("RETROFIT_WEB_PORT", "tcp://10.0.0.1:9817"),
        ("RETROFIT_WEB_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_those_that_kubernetes_sets_for_a_service_of_our_name_are_its_own(
    variable: str, value: str
) -> None:
    assert named(**{variable: value}) == []
    assert named(RETROFIT_WEB_PORT="9817") != []  # one that a person wrote


def test_one_that_is_no_text_is_named() -> None:
    (problem,) = named(**{"RETROFIT_CLOUD__NAME": "\udcff"})
    assert "is not valid UTF-8" in problem
    problem.encode()


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("RETROFIT_SOURCE__SERIES", "noble", "source.series"),
        ("RETROFIT_PUBLISH", "5", "publish"),
        ("RETROFIT_PUBLISH", "[" * 100_000, "publish"),
        ("RETROFIT_PUBLISH__KEEP__X", "5", "publish.keep"),
        ("RETROFIT_TARGET", "noble", "target"),
        ("RETROFIT_TARGET__NOBLE__PUBLISH__KEEEP", "5", "target.noble.publish.keeep"),
        ("RETROFIT_TARGET__NOBLE__PUBLISH__KEEP", "many", "target.noble.publish.keep"),
    ],
)
def test_one_with_another_value_than_its_setting_takes_is_named_by_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, key: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as refused:
        parse(b"", None)
    assert f"\n  {key}: " in refused.value.message
    assert len(refused.value.message) < 500


def test_a_targets_lists_and_numbers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETROFIT_TARGET__NOBLE__SOURCE__SERIES", '["jammy"]')
    monkeypatch.setenv("RETROFIT_TARGET__NOBLE__PUBLISH__KEEP", "4")
    (target,) = parse(b"", None).targets
    found: tuple[Any, ...] = (target.name, target.source.series, target.publish.keep)
    assert found == ("noble", ("jammy",), 4)
