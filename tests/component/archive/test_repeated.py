"""Checks again and again: the same answer, at the cost of a few requests."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from retrofit.archive.offer import UpdateKind
from retrofit.config import Target
from retrofit.plan.freshness import Freshness, reasons
from tests.archive.packages import Package
from tests.archive.small_archive import SmallArchive
from tests.component.archive.conftest import Checks, kinds
from tests.unit.images import amphora

OPENSSL = Package(name="libssl3", version="3.0.13-0", source="openssl")
FIXED = dataclasses.replace(OPENSSL, version="3.0.13-1")
MANY = [Package(name=f"package-{number}", version="1") for number in range(20)]


@pytest.fixture(autouse=True)
def released(archive: SmallArchive) -> None:
    archive.add("noble", OPENSSL, *MANY)


def test_nothing_is_fetched_or_simulated_twice(
    archive: SmallArchive, check: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("noble-security", FIXED)
    evidence = archive.evidence(OPENSSL, *MANY)
    first = check(evidence)
    assert kinds(first) == {"libssl3": UpdateKind.SECURITY}
    monkeypatch.setattr("retrofit.archive.ask._answer", None)
    for _ in range(20):
        archive.server.forget()
        again = check(evidence)
        assert (again.updates, again.digest) == (first.updates, first.digest)
        assert again.checked_at > first.checked_at
        assert [code for _, code in archive.server.requests] == [304, 304, 304]
        assert archive.server.sent < 10_000


@pytest.mark.slow
def test_twenty_checks_decide_what_the_first_did(archive: SmallArchive, check: Checks) -> None:
    """A fix that the build did not bring, one that it held, and one that is new since."""
    kernel, library, new = (Package(name=name, version="1") for name in ("linux", "lib", "new"))
    installed = (kernel, library, new)
    archive.add("noble", *installed)
    archive.add("noble-security", *(dataclasses.replace(e, version="2") for e in installed[:2]))
    evidence = archive.evidence(*installed, held=[kernel.name])
    image = amphora(5, tagged=True)

    def decided() -> list[tuple[str, ...]]:
        offers = [check(evidence) for _ in range(20)]
        return [
            reasons(
                Freshness(image_id=image.id, offer=offer, offered=frozenset({("lib", "2")})),
                Target(),
                image,
                image.created_at,
            )
            for offer in offers
        ]

    assert decided() == [()] * 20
    archive.add("noble-security", dataclasses.replace(new, version="2"))
    assert decided() == [("1 security update: new 1 -> 2",)] * 20


def test_a_server_without_validators_costs_its_indexes_and_no_more(
    archive: SmallArchive, check: Checks
) -> None:
    archive.server.validators = False
    evidence = archive.evidence(OPENSSL, *MANY)
    check(evidence)
    archive.server.forget()
    check(evidence)
    assert {path.rsplit("/")[-1] for path, _ in archive.server.requests} == {"InRelease"}


def test_a_changed_index_is_asked_again(archive: SmallArchive, check: Checks) -> None:
    evidence = archive.evidence(OPENSSL)
    assert check(evidence).updates == ()
    archive.add("noble-security", FIXED)
    assert kinds(check(evidence)) == {"libssl3": UpdateKind.SECURITY}


def test_another_image_is_asked_again(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble-security", FIXED)
    assert len(check(archive.evidence(OPENSSL)).updates) == 1
    assert check(archive.evidence(FIXED)).updates == ()
    assert kinds(check(archive.evidence(OPENSSL, held=["libssl3"]))) == {"libssl3": UpdateKind.HELD}


def test_a_machine_without_cache_has_the_same_answer(
    archive: SmallArchive, check: Checks, tmp_path: Path
) -> None:
    archive.add("noble-security", FIXED)
    evidence = archive.evidence(OPENSSL, *MANY)
    offers = [check(evidence), Checks(tmp_path / "another")(evidence), check(evidence)]
    assert len({(offer.digest, offer.updates, offer.newest_index) for offer in offers}) == 1


def damaged_json(root: Path) -> None:
    (root / "last-check.json").write_text('{"format": 1, "key": ')


def of_another_form(root: Path) -> None:
    (root / "last-check.json").write_text('{"format": 99, "key": []}')


def a_link(root: Path) -> None:
    (root / "last-check.json").unlink()
    (root / "last-check.json").symlink_to("/etc/passwd")


def of_another_user(root: Path) -> None:
    file = root / "last-check.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "updates": []}))
    os.chown(file, 4242, 4242)


def a_damaged_index(root: Path) -> None:
    (index,) = (root / "lists").glob("*noble-security_main_binary-amd64_Packages*")
    index.write_bytes(b"Package: libssl3\nVersion: 9\nArchitecture: amd64\n\n")


def a_truncated_index(root: Path) -> None:
    (index,) = (root / "lists").glob("*noble-security_main_binary-amd64_Packages*")
    index.write_bytes(b"")


def an_index_that_is_gone(root: Path) -> None:
    (index,) = (root / "lists").glob("*noble-security_main_binary-amd64_Packages*")
    index.unlink()


def a_foreign_index(root: Path) -> None:
    (root / "lists/h_dists_noble-security_InRelease").write_text("Suite: noble-security\n")


def a_link_to_an_index(root: Path) -> None:
    (root / "lists/h_dists_noble_InRelease").symlink_to("/etc/passwd")


def a_foreign_source(root: Path) -> None:
    (root / "etc/apt/sources.list.d/more.list").write_text("deb [trusted=yes] file:/ ./\n")


def foreign_configuration(root: Path) -> None:
    (root / "etc/apt/apt.conf.d/99hook").write_text('APT::Update::Pre-Invoke { "exit 1"; };\n')


def another_status(root: Path) -> None:
    (root / "status").write_text("")


def links_for_directories(root: Path) -> None:
    for name in ("etc", "lists", "tmp"):
        shutil.rmtree(root / name)
        (root / name).symlink_to("/etc")


DAMAGES = [
    damaged_json, of_another_form, a_link, a_damaged_index, a_truncated_index,
    an_index_that_is_gone, a_foreign_index, a_link_to_an_index, a_foreign_source,
    foreign_configuration, another_status, links_for_directories,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_damaged_or_foreign_is_made_anew(
    archive: SmallArchive, check: Checks, damage: object
) -> None:
    archive.add("noble-security", FIXED)
    check(archive.evidence(OPENSSL, *MANY))
    damage(check.root)  # type: ignore[operator]
    # Another image: the answer of the last check does not stand, so that apt has to look.
    assert kinds(check(archive.evidence(OPENSSL))) == {"libssl3": UpdateKind.SECURITY}
    assert not any((check.root / name).is_symlink() for name in ("etc", "lists", "last-check.json"))


@pytest.mark.root
def test_an_answer_of_another_user_is_not_believed(archive: SmallArchive, check: Checks) -> None:
    archive.add("noble-security", FIXED)
    evidence = archive.evidence(OPENSSL)
    assert len(check(evidence).updates) == 1
    of_another_user(check.root)
    assert len(check(evidence).updates) == 1
