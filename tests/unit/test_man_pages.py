"""Man pages are those of the code: `make reference` writes them anew."""

from __future__ import annotations

import re

from retrofit.config.file import Document
from tools import man_pages, settings_page
from tools.reference.settings import rows_of, sections_of
from tools.roff import roff

STALE = "is stale: run `make reference`, and commit what it wrote"


def test_man_pages_are_current() -> None:
    written = {page.name: page.read_text() for page in man_pages.DIRECTORY.glob("*")}
    wanted = man_pages.pages()
    assert written.keys() == wanted.keys(), f"man/ {STALE}"
    for name, text in wanted.items():
        assert written[name] == text, f"man/{name} {STALE}"


def test_page_of_settings_is_current_and_has_them_all() -> None:
    text = settings_page.page()
    assert settings_page.FILE.read_text() == text, f"man5/ {STALE}"
    for section, model in sections_of(Document):
        assert f".SH [{section}]\n" in text
        for name, *_ in rows_of(section, model):
            key = name.partition("<br>")[0].strip("`")
            assert f".TP\n\\fB{key}\\fP (" in text, key
    assert "<br>" not in text
    assert "](" not in text


def test_no_man_page_has_what_roff_would_take_for_a_request() -> None:
    for name, text in {**man_pages.pages(), "retrofit.toml.5": settings_page.page()}.items():
        requests = set(re.findall(r"(?m)^\.(\S+)", text))
        assert requests <= {"TH", "SH", "PP", "TP", "B", "I", "nf", "fi"}, name
        assert "\b" not in text, name
        assert not re.search(r"(?m)^'", text), name


def test_man_page_of_a_program_has_all_its_sections() -> None:
    text = man_pages.pages()["retrofit.1"]
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "FILES", "SEE ALSO"):
        assert f".SH {section}\n" in text
    assert "Exit codes: 0" in text
    assert re.search(r"(?m)^retrofit \\- \w.*[^.]$", text)


def test_text_that_begins_like_a_request_is_escaped() -> None:
    assert roff(".x\n'y\\z `w`") == "\\&.x\n\\&'y\\ez \\fBw\\fP"
