"""Every parser reads its corpus: good examples, and whatever broke it once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS
from tests.fuzz.shapes import few, mutated

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*"))
LARGEST = 8 * 1024
MOST = 256 * 1024
"""Bytes of a file, and of all: a corpus that grows without end is read by nobody any more."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_file_of_the_corpus_is_read_or_refused(path: Path) -> None:
    PARSERS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_what_is_near_to_the_corpus_is_read_or_refused(name: str) -> None:
    near = st.one_of([mutated(path.read_bytes()) for path in FILES if path.parent.name == name])

    @few
    @given(near)
    def read(data: bytes) -> None:
        PARSERS[name](data)

    read()


def test_every_parser_has_a_corpus_and_it_is_small() -> None:
    assert {path.parent.name for path in FILES} == set(PARSERS)
    sizes = [path.stat().st_size for path in FILES]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= MOST
