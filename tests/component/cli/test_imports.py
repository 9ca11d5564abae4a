"""The OpenStack libraries take a second to import: commands that ask no cloud do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from retrofit.cli import main
try:
    main()
except SystemExit:
    pass
heavy = {"glanceclient", "keystoneauth1", "openstack"} & set(sys.modules)
print(*sorted(heavy), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("run-once", "--help"),
        ("history",),
        ("logs", "last"),
        ("config", "show"),
        ("completion", "bash"),
    ],
    ids=" ".join,
)
def test_no_openstack_library_is_imported(words: tuple[str, ...], tmp_path: Path) -> None:
    config = tmp_path / "retrofit.toml"
    config.write_text(f'[paths]\nlogs = "{tmp_path}"\nstate = "{tmp_path}"\n')
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--config", config, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == ""
