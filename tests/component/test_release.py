"""A release has the same bytes whenever it is made, and a bill of what it consists of."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from retrofit import __version__
from tests.devcloud.places import CHECKOUT
from tools.bill import document

SUFFIXES = ["-py3-none-any.whl", ".tar.gz", ".Containerfile", ".cdx.json"]


@pytest.fixture(scope="module")
def commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose one commit is the checkout as it stands, with files that are not in it."""
    copy = tmp_path_factory.mktemp("release") / "checkout"
    git = ["git", "-c", "safe.directory=*"]
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, listed)):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, copy / name, follow_symlinks=False)
    author = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=copy, check=True)
    (copy / "retrofit" / "draft.py").write_text("not committed\n")
    return copy


def released(commit: Path, directory: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-m", "tools.release", directory], cwd=commit, check=True)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_two_releases_of_a_commit_are_the_same(commit: Path, tmp_path: Path) -> None:
    first = released(commit, tmp_path / "first")
    for path in (commit / "retrofit").rglob("*.py"):
        os.utime(path, (0, 0))
        path.chmod(0o600)
    second = released(commit, tmp_path / "second")
    assert sorted(first) == sorted(
        ["SHA256SUMS", *(f"octavia_retrofit-{__version__}{suffix}" for suffix in SUFFIXES)]
    )
    assert [name for name in first if first[name] != second[name]] == []
    assert subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "first", check=True
    )
    assert b"draft.py" not in first[f"octavia_retrofit-{__version__}.tar.gz"]


def test_bill_lists_the_product_and_every_pin() -> None:
    bill = json.loads(document(CHECKOUT, at=1_800_000_000))
    product = bill["metadata"]["component"]
    assert (product["name"], product["version"]) == ("octavia-retrofit", __version__)
    lines = (CHECKOUT / "requirements" / "run.txt").read_text().splitlines()
    pins = [line.rstrip("\\ ") for line in lines if line and not line.startswith(" ")]
    listed = {(each["name"], each["version"]) for each in bill["components"]}
    assert listed == {(Requirement(p).name, str(Requirement(p).specifier)[2:]) for p in pins}
    hashes = [each["externalReferences"][0]["hashes"] for each in bill["components"]]
    assert sum(map(len, hashes)) == sum("--hash=sha256:" in line for line in lines)
    (direct,) = (each for each in bill["dependencies"] if each["ref"] == "octavia-retrofit")
    assert {"click", "diskimage-builder", "tooz"} <= {
        re.split("[/@]", ref)[1] for ref in direct["dependsOn"]
    }
