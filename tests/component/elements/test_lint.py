"""dib-lint, shellcheck and bashate accept the elements."""

from __future__ import annotations

import re
from pathlib import Path

from tests.component.elements.element_scripts import ELEMENTS, required, run


def _shell_scripts() -> list[Path]:
    found = [
        path
        for path in ELEMENTS.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and re.match(rb"#!/bin/(ba)?sh$", path.read_bytes().partition(b"\n")[0])
    ]
    return sorted(found)


def test_dib_lint_is_content() -> None:
    result = run(required("dib-lint"), ELEMENTS_DIR=str(ELEMENTS), LIB_DIR=str(ELEMENTS))

    assert result.returncode == 0, result.stdout
    assert "PASS" in result.stdout


def test_shellcheck_is_content() -> None:
    scripts = _shell_scripts()
    result = run(required("shellcheck"), *scripts)
    sourced = run(required("shellcheck"), "-s", "bash", *ELEMENTS.glob("*/environment.d/*"))

    assert len(scripts) > 20
    assert result.returncode == 0, result.stdout
    assert sourced.returncode == 0, sourced.stdout


def test_bashate_is_content() -> None:
    result = run(required("bashate"), "-i", "E006", *_shell_scripts())

    assert result.returncode == 0, result.stdout
