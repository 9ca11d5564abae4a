from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from retrofit.cli.confirm import confirm
from retrofit.errors import ConfigError, InterruptedRunError

QUESTION = "Delete 2 images?"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], int]]:
    """Sit at a real terminal and type; returns the descriptor that shows what it showed."""
    master, slave = pty.openpty()
    opened: list[TextIO] = []

    def type_in(text: str) -> int:
        os.write(master, text.encode())
        for name, mode in (("stdin", "r"), ("stderr", "w")):
            stream = os.fdopen(os.dup(slave), mode)
            opened.append(stream)
            monkeypatch.setattr(sys, name, stream)
        return master

    yield type_in
    for stream in opened:
        stream.close()
    os.close(slave)
    os.close(master)


def shown(master: int, wanted: bytes) -> bytes:
    """Read what the terminal shows until it shows that: it comes in pieces."""
    seen = b""
    while wanted not in seen and select.select([master], [], [], 20)[0]:
        seen += os.read(master, 4096)
    return seen


def test_goes_on_when_the_answer_is_yes(terminal: Callable[[str], int]) -> None:
    master = terminal("y\n")
    confirm(QUESTION, yes=False)
    sys.stderr.flush()
    assert QUESTION.encode() in shown(master, QUESTION.encode())


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_changes_nothing_when_the_answer_is_no(terminal: Callable[[str], int], answer: str) -> None:
    terminal(answer)
    with pytest.raises(InterruptedRunError, match="nothing was changed") as refused:
        confirm(QUESTION, yes=False)
    assert refused.value.exit_code == 130


def test_the_question_cannot_act_upon_the_terminal(terminal: Callable[[str], int]) -> None:
    master = terminal("y\n")
    confirm("Promote a (\x1b[2J\x9bowned)?", yes=False)
    sys.stderr.flush()
    seen = shown(master, b"owned")
    assert b"\\x1b[2J\\x9bowned" in seen
    assert b"\x1b" not in seen


@pytest.mark.parametrize("missing", ["stdin", "stderr"])
def test_where_nobody_can_answer_it_says_so(
    terminal: Callable[[str], int],
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal("y\n")
    with (tmp_path / "file").open("w+") as file, monkeypatch.context() as patched:
        patched.setattr(sys, missing, file)
        with pytest.raises(ConfigError, match="there is no terminal to confirm on") as refused:
            confirm(QUESTION, yes=False)
        assert "--yes" in (refused.value.hint or "")
        confirm(QUESTION, yes=True)
