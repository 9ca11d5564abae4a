"""No secret of two hundred awkward shapes is in anything that a run leaves or prints.

Each secret is two halves with something awkward between them: not even a half may be seen.
"""

from __future__ import annotations

import html
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from retrofit import console, redaction
from retrofit.build.build_log import redact
from retrofit.cli import render
from retrofit.config.file import parse
from retrofit.errors import BuildError, ConfigError, RetrofitError
from retrofit.runs.report_document import ErrorDocument
from tests.model.random_settings import toml

HEAD, TAIL = "aZ3kd9Qw", "pL8vxT2m"
AWKWARD = ["/", "#", "@", "%", "?", ":", "&", "=", "+", " ", "'", '"', "`", "\\", "$x", "\n", "\t",
           "é", "\u2028", "<b>", "{}", "|;", "%2F", "://", "]["]  # fmt: skip
SHAPES = [f"{HEAD}{odd}{TAIL}" for odd in AWKWARD]


Placed = tuple[dict[str, Any], dict[str, str]]
"""Sections of a configuration, and variables of the environment."""


def setting(section: str, key: str, form: str) -> Callable[[str], Placed]:
    def placed(secret: str) -> Placed:
        value = form.format(raw=secret, quoted=quote(secret, safe=""), parameter=quote_plus(secret))
        return {section: {key: value}}, {}

    return placed


PLACES: dict[str, Callable[[str], Placed]] = {
    "a lock server": setting("lock", "url", "redis://:{quoted}@127.0.0.1:9?password={parameter}"),
    "a proxy as it is": setting("build", "http_proxy", "http://user:{raw}@proxy.test:3128"),
    "a proxy without a scheme": setting("build", "https_proxy", "user:{raw}@proxy.test:3128"),
    "a token of an index": setting("build", "python_index", "https://{quoted}@pypi.test/simple"),
    "a webhook": setting("notify", "url", "https://hooks.test/services/{quoted}?token={parameter}"),
    "a variable of a build": lambda secret: (
        {"build": {"environment": {"DIB_REPO_AUTH": secret}}}, {}
    ),
    "a proxy of the environment": lambda secret: (
        {}, {"https_proxy": f"user:{secret}@proxy.test:3128"}
    ),
    "a password of the cloud": lambda secret: ({}, {"OS_PASSWORD": secret}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})
    monkeypatch.setattr(redaction, "_pattern", None)


def test_there_are_two_hundred() -> None:
    assert len(SHAPES) * len(PLACES) == 200


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", SHAPES, ids=map(ascii, AWKWARD))
def test_it_is_nowhere(
    secret: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, environment = PLACES[place](secret)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen = list(of_configuration(document))
    for text in repeated(secret, document, environment):
        seen += of_a_run(text, tmp_path)
    for text in seen:
        assert HEAD not in text
        assert TAIL not in text


def of_configuration(document: dict[str, Any]) -> Iterator[str]:
    """What `config check` and `config show` print."""
    try:
        settings = parse(toml(document).encode(), Path("retrofit.toml"))
    except ConfigError as error:
        yield f"{error.message}\n{error.hint}"
        return
    for form in ("json", "yaml"):
        printed = io.StringIO()
        with redirect_stdout(printed):
            render.show_settings(settings, form)
        yield printed.getvalue()


def repeated(secret: str, document: Any, environment: dict[str, str]) -> Iterator[str]:
    """The secret, and what holds it, as programs and libraries repeat them."""
    holders = [*environment.values(), *_strings(document)]
    for text in (secret, *holders):
        yield from (text, quote(text, safe=""), quote(text), quote_plus(text))
        yield from (repr(text), ascii(text), repr(text.encode()), json.dumps(text))
        yield from (html.escape(text), shlex.quote(text), text.replace("\n", "\nrest: "))
        yield f"Failed to parse: {text}"
        yield f"HTTPConnectionPool(host={text!r}, port=3128): Max retries exceeded with url: /"


def _strings(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for each in document.values():
            yield from _strings(each)


def of_a_run(text: str, directory: Path) -> Iterator[str]:
    """What a run prints, logs and keeps of a text."""
    message = f"cannot reach {text}: refused"
    error = BuildError(message, hint=f"see {text}")
    yield f"{error.message} {error.hint} {error}"
    yield json.dumps(ErrorDocument(code="build", message=message, hint=text).as_dict())
    event: Any = {"event": "step failed", "error": message, "reasons": [text], "log": {"x": text}}
    for processor in console.RECORDED[1:]:
        event = processor(None, "error", event)
    yield json.dumps(event)
    yield console.terminal_line(None, "error", dict(event))
    log = directory / "build.log"
    log.write_text(f"+ export X={text}\nGet:1 {text} InRelease\n")
    redact(log)
    yield log.read_text()
    printed, before = io.StringIO(), sys.stderr
    sys.stderr = printed
    try:
        console._report_unexpected(ValueError, ValueError(message), None)
    finally:
        sys.stderr = before
    yield printed.getvalue()


@pytest.mark.parametrize("word", ["octavia", "noble", "a", "1", "true", ""])
def test_a_password_that_is_a_word_hides_no_other_text(word: str) -> None:
    parse(f'[lock]\nurl = "redis://:{word}@127.0.0.1:9"\n'.encode(), None)
    text = "target noble of octavia-amphora, 11 images, true"
    assert redaction.redacted(text) == text
    assert RetrofitError(f"redis://:{word}@127.0.0.1:9").message == "redis://***@127.0.0.1:9"


def test_switches_of_a_build_are_shown_and_the_rest_is_not() -> None:
    variables = {"DIB_DEBUG_TRACE": "1", "DIB_X": "yes", "DIB_REPO": "https://x.test/?sig=abc",
                 "DIB_TOKEN": "1", "DIB_NOTE": "hello"}  # fmt: skip
    assert redaction.redacted_variables(variables) == {
        "DIB_DEBUG_TRACE": "1",
        "DIB_X": "yes",
        "DIB_REPO": "***",
        "DIB_TOKEN": "***",
        "DIB_NOTE": "***",
    }


def test_what_is_known_does_not_grow_by_reading_again() -> None:
    for _ in range(3):
        parse(f'[lock]\nurl = "redis://:{HEAD}@h:1"\n'.encode(), None)
        known = len(redaction._known)
    assert known == len(redaction._known) < 20
    assert os.environ  # nothing of it was changed
