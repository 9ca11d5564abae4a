"""The digest changes with what is in the image, and with nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from diskimage_builder import paths

from retrofit.build.recipe import Element, Recipe, gather, recipe_for, tree_digest
from retrofit.config import BuildSettings
from retrofit.errors import BuildError, ConfigError


@pytest.fixture
def elements(tmp_path: Path) -> Path:
    """Elements with the names that are always asked for, and one that a user might add."""
    root = tmp_path / "elements"
    for name in ("amphora", "amphora-agent-distro", "amphora-agent-pypi", "amphora-ssh-remove"):
        (root / name).mkdir(parents=True)
    (root / "stock-image").mkdir()
    (root / "stock-image/element-provides").write_text("operating-system\n")
    (root / "amphora/element-deps").write_text("below\n")
    script = root / "below/install.d/50-below"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/bash\n")
    script.chmod(0o755)
    (root / "mine").mkdir()
    return root


def digest(directory: Path, /, **settings: Any) -> str:
    return recipe_for(BuildSettings(element_paths=(directory,), **settings)).digest


def test_digest_is_the_same_twice_and_names_its_algorithm(elements: Path) -> None:
    assert digest(elements) == digest(elements)
    assert digest(elements).startswith("sha256:")
    assert len(digest(elements)) == len("sha256:") + 64


def test_place_of_the_elements_does_not_matter(elements: Path) -> None:
    before = digest(elements)
    assert digest(elements.rename(elements.with_name("moved"))) == before


@pytest.mark.parametrize(
    "settings",
    [
        {"agent": "pypi"},
        {"cloud_archive": "caracal"},
        {"ppas": ("ppa:team/name",)},
        {"packages": ("tcpdump",)},
        {"elements": ("mine",)},
        {"upgrade": False},
        {"ssh": "remove"},
        {"format": "raw"},
        {"compression": "zlib"},
        {"environment": {"DIB_FOO": "x"}},
        {"free_space": 1024},
    ],
    ids=str,
)
def test_what_is_in_the_image_changes_the_digest(elements: Path, settings: dict[str, Any]) -> None:
    assert digest(elements, **settings) != digest(elements)


@pytest.mark.parametrize(
    "settings",
    [
        {"http_proxy": "http://proxy:3128"},
        {"no_proxy": "localhost"},
        {"archive_mirror": "http://mirror"},
        {"security_mirror": "http://mirror"},
        {"cloud_archive_mirror": "http://mirror"},
        {"python_index": "http://index"},
        {"timeout": 60},
        {"tmpfs": False},
        {"max_disk": 3},
        {"agent_version": "19.0.0"},  # of an agent that does not come from PyPI
    ],
    ids=str,
)
def test_how_it_is_made_does_not(elements: Path, settings: dict[str, Any]) -> None:
    assert digest(elements, **settings) == digest(elements)


def test_compression_does_not_matter_to_raw(elements: Path) -> None:
    assert digest(elements, format="raw", compression="zlib") == digest(elements, format="raw")


def test_content_of_the_constraints_counts_and_their_place_does_not(
    elements: Path, tmp_path: Path
) -> None:
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    one.write_text("octavia==19.0.0\n")
    two.write_text("octavia==19.0.0\n")
    other.write_text("octavia==18.0.0\n")
    digests = [digest(elements, agent="pypi", agent_constraints=path) for path in (one, two, other)]
    assert digests[0] == digests[1] != digests[2]


def change_content(elements: Path) -> None:
    (elements / "below/install.d/50-below").write_text("#!/bin/bash\ntrue\n")


def change_mode(elements: Path) -> None:
    (elements / "below/install.d/50-below").chmod(0o644)


def change_name(elements: Path) -> None:
    script = elements / "below/install.d/50-below"
    script.rename(script.with_name("51-below"))


def change_dependencies(elements: Path) -> None:
    (elements / "amphora/element-deps").write_text("below\nmine\n")


@pytest.mark.parametrize("change", [change_content, change_mode, change_name, change_dependencies])
def test_change_of_an_element_deep_below_counts(elements: Path, change: Any) -> None:
    before = digest(elements)
    change(elements)
    assert digest(elements) != before


def test_elements_that_are_not_used_do_not_count(elements: Path) -> None:
    before = digest(elements)
    (elements / "mine/README.rst").write_text("changed")
    assert digest(elements) == before


def test_umask_of_the_checkout_does_not_count(elements: Path) -> None:
    before = digest(elements)
    for path in elements.rglob("*"):
        path.chmod(path.stat().st_mode | 0o020)
    (elements / "below/__pycache__").mkdir()
    (elements / "below/__pycache__/x.pyc").write_bytes(b"x")
    assert digest(elements) == before


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077], ids=oct)
def test_copies_have_the_same_modes_under_any_umask(
    elements: Path, umask: int, tmp_path: Path
) -> None:
    static = elements / "below/static/var/lib/octavia"
    static.mkdir(parents=True)
    for name, bits in (("run.sh", 0o755), ("read.conf", 0o644)):
        (static / name).write_text("#!/bin/sh\n")
        (static / name).chmod(bits)
    before = digest(elements)
    for path in elements.rglob("*"):  # an installation made under that umask
        path.chmod(path.stat().st_mode & ~umask)
    assert digest(elements) == before
    recipe = recipe_for(BuildSettings(element_paths=(elements,)))
    given = os.umask(umask)
    try:
        gather(recipe, tmp_path / "copies")
    finally:
        os.umask(given)
    modes = {
        str(path.relative_to(tmp_path / "copies/below")): stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "copies/below").rglob("*")
    }
    assert modes == {
        **dict.fromkeys(
            ("static", "static/var", "static/var/lib", "static/var/lib/octavia", "install.d"), 0o755
        ),
        "install.d/50-below": 0o755,
        "static/var/lib/octavia/run.sh": 0o755,
        "static/var/lib/octavia/read.conf": 0o644,
    }


def test_files_of_diskimage_builders_own_elements_get_modes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    for name in ("with-files", "without"):
        (theirs / name).mkdir(parents=True)
    (theirs / "with-files/static").mkdir(mode=0o700)
    (theirs / "with-files/static/etc.conf").write_text("x")
    (theirs / "with-files/static/etc.conf").chmod(0o600)
    monkeypatch.setattr(paths, "get_path", lambda _name: str(theirs))
    found = tuple(
        Element(name=path.name, path=path, digest=tree_digest(path)) for path in theirs.iterdir()
    )
    recipe = Recipe(wanted=(), elements=found, environment={}, inputs={}, output={})
    gather(recipe, tmp_path / "copies")
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["with-files"]
    assert (tmp_path / "copies/with-files/static/etc.conf").stat().st_mode & 0o777 == 0o644


def test_links_count_by_what_they_point_to(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/real").write_text("x")
    before = tree_digest(tmp_path / "a")
    (tmp_path / "elsewhere").write_text("x")
    (tmp_path / "a/real").unlink()
    (tmp_path / "a/real").symlink_to(tmp_path / "elsewhere")
    assert tree_digest(tmp_path / "a") == before


def test_missing_element_is_named(elements: Path) -> None:
    with pytest.raises(ConfigError, match="Element 'no-such' not found") as caught:
        digest(elements, elements=("no-such",))
    assert str(elements) in (caught.value.hint or "")


def test_elements_that_exclude_each_other_are_named(elements: Path) -> None:
    for name in ("amphora-agent-distro", "mine"):
        (elements / name / "element-provides").write_text("the-agent\n")
    with pytest.raises(ConfigError, match=r"cannot be used together: the-agent: already provided"):
        digest(elements, elements=("mine",))


def test_build_sees_the_elements_of_the_recipe_and_no_others(
    elements: Path, tmp_path: Path
) -> None:
    recipe = recipe_for(BuildSettings(element_paths=(elements,)))
    gather(recipe, tmp_path / "gathered")
    names = {path.name for path in (tmp_path / "gathered").iterdir()}
    assert names == {"stock-image", "amphora", "amphora-agent-distro", "below"}
    copy = tmp_path / "gathered/below/install.d/50-below"
    assert copy.stat().st_mode & 0o777 == 0o755


def test_element_that_changed_after_its_digest_was_taken_is_refused(
    elements: Path, tmp_path: Path
) -> None:
    recipe = recipe_for(BuildSettings(element_paths=(elements,)))
    change_content(elements)
    with pytest.raises(BuildError, match="element below was changed during this run"):
        gather(recipe, tmp_path / "gathered")
