"""A real Glance keeps evidence, and apt asks a real archive: what follows for images."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retrofit.archive.agent import Distribution, written
from retrofit.archive.evidence import AGENT, OS_RELEASE, Evidence
from tests.archive.osv import as_bytes, record
from tests.archive.packages import Package
from tests.archive.python_index import PythonIndex
from tests.archive.server import served
from tests.archive.small_archive import SmallArchive, signing_key, small_archive
from tests.integration.harness import TAG, CloudHarness

OLD = Package(name="haproxy", version="1.0")
FIXED = Package(name="haproxy", version="1.1")
KERNEL = Package(name="linux-image-9", version="1.0")
NEWER_KERNEL = Package(name="linux-image-9", version="1.1")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[SmallArchive]:
    with small_archive(tmp_path / "archive") as made:
        made.add("noble", OLD, KERNEL)
        yield made


@pytest.fixture
def site(harness: CloudHarness, archive: SmallArchive) -> CloudHarness:
    """A target whose first image was built from the archive."""
    harness.freshness_toml = ""
    harness.source("20260911")
    install(harness, archive, OLD, KERNEL)
    assert harness.act("run-once")["outcome"] == "published"
    return harness


def install(harness: CloudHarness, archive: SmallArchive, *packages: Package) -> None:
    """Let the next build have these packages."""
    held = [each.name for each in packages if each.name.startswith("linux-")]
    harness.fake_builder.evidence = archive.evidence(*packages, held=held)


def companions(harness: CloudHarness) -> dict[str, Any]:
    """Records of evidence by the images that they name."""
    records = harness.site.records(harness.site.sync_cloud)
    return {
        each["retrofit_evidence_of"]: each for each in records if "retrofit_evidence_of" in each
    }


def test_a_fix_is_a_reason_to_build_once(site: CloudHarness, archive: SmallArchive) -> None:
    assert site.act("run-once")["outcome"] == "unchanged"
    archive.add("noble-security", FIXED)
    plan = site.read("plan")
    assert plan["reasons"] == ["1 security update: haproxy 1.0 -> 1.1"]
    (known,) = plan["freshness"]["security"]
    assert (known["package"], known["candidate"]) == ("haproxy", "1.1")
    install(site, archive, FIXED, KERNEL)
    report = site.act("run-once")
    assert (report["outcome"], report["reasons"]) == ("published", plan["reasons"])
    assert report["missing_fixes"]["sources"] == []
    assert site.act("run-once")["outcome"] == "unchanged"


def test_a_fix_that_nothing_is_built_for_is_told_and_listed(
    site: CloudHarness, archive: SmallArchive, tmp_path: Path
) -> None:
    told = tmp_path / "told.jsonl"
    site.freshness_toml = '[freshness]\nbuild_for = "never"\n'
    site.toml += f'[notify]\ncommand = ["tee", "-a", "{told}"]\n'
    assert site.act("run-once")["missing_fixes"]["sources"] == []
    archive.add("noble-security", FIXED)
    for _ in range(2):
        report = site.act("run-once")
        assert report["outcome"] == "unchanged"
        assert report["missing_fixes"]["sources"] == ["haproxy"]
    (event,) = [json.loads(line) for line in told.read_text().splitlines()]
    assert event["event"] == "fixes_missing"
    assert event["summary"].endswith("lacks 1 security fix (haproxy)")
    (row,) = site.read("list")
    assert row["missing_fixes"] == 1
    assert f"{row['id']}: lacks 1 security fix: " in site.retrofit("list").stdout


@pytest.mark.slow
def test_what_a_build_does_not_bring_is_no_reason_again(
    site: CloudHarness, archive: SmallArchive
) -> None:
    archive.add("noble-security", FIXED)
    assert site.act("run-once")["outcome"] == "published"  # with the old package again
    report = site.act("run-once")
    assert report["outcome"] == "unchanged"
    assert any("it is not built again for them" in note for note in report["notes"])
    # A later fix is one.
    archive.add("noble-security", Package(name="haproxy", version="1.2"))
    assert site.act("run-once")["reasons"] == ["1 security update: haproxy 1.0 -> 1.2"]


def test_a_held_fix_is_told_and_nothing_is_built(site: CloudHarness, archive: SmallArchive) -> None:
    archive.add("noble-security", NEWER_KERNEL)
    report = site.act("run-once")
    assert report["outcome"] == "unchanged"
    assert any("they come with a newer source image" in note for note in report["notes"])
    status = site.read("status")
    assert [each["package"] for each in status["freshness"]["held"]] == [KERNEL.name]


def test_another_machine_without_a_cache_decides_the_same(
    site: CloudHarness, archive: SmallArchive
) -> None:
    archive.add("noble-security", FIXED)
    here = site.read("plan")
    site.machine = "b"
    there = site.read("plan")
    assert there["reasons"] == here["reasons"] == ["1 security update: haproxy 1.0 -> 1.1"]


def test_evidence_follows_its_image_to_another_tag_and_name(
    site: CloudHarness, archive: SmallArchive
) -> None:
    (first,) = companions(site)
    before = companions(site)[first]
    moved = '[target.noble]\n{}[target.noble.publish]\ntag = "v2"\n{}'
    at_once = site.toml
    site.toml = at_once + moved.format('formerly = ["default"]\n', f'former_tags = ["{TAG}"]\n')
    site.tags = {"noble": "v2"}
    site.act("run-once")
    after = companions(site)[first]
    assert after["id"] == before["id"]
    assert after["retrofit_evidence_target"] == "noble"
    assert after["retrofit_installation"] == site.image(first)["retrofit_installation"]
    assert after["retrofit_installation"] != before["retrofit_installation"]
    assert site.read("plan")["freshness"]["unknown"] is None
    # The former names are forgotten: what outlives its image is known by its present ones.
    site.toml = at_once + moved.format("", "")
    site.client.images.delete(first)
    site.act("run-once")
    assert first not in companions(site)
    # No check of the former target will need its indexes again.
    assert [each.name for each in (site.path("cache") / "archive").iterdir()] == ["noble"]


def gone(archive: SmallArchive) -> None:
    archive.server.gone = True


def cut_short(archive: SmallArchive) -> None:
    archive.server.cut = 100


def of_another_key(archive: SmallArchive) -> None:
    with signing_key() as other:
        archive.sign("noble-security", archive.clock + timedelta(minutes=1), home=other)


def changed_after_its_signature(archive: SmallArchive) -> None:
    signed = archive.www / "dists/noble-security/InRelease"
    signed.write_text(signed.read_text().replace("Label: Ubuntu", "Label: Debian"))


def run_out(archive: SmallArchive) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=30)
    archive.publish("noble-security", date=long_ago, valid_for=timedelta(days=7))


def older_than_before(archive: SmallArchive) -> None:
    archive.publish("noble-security", date=archive.clock - timedelta(days=1))


TROUBLES = (
    gone, cut_short, of_another_key, changed_after_its_signature, run_out, older_than_before,
)  # fmt: skip


@pytest.mark.slow
def test_an_archive_in_trouble_builds_nothing(site: CloudHarness, archive: SmallArchive) -> None:
    promoted = site.octavia()
    assert site.read("plan")["freshness"]["unknown"] is None
    archive.packages["noble-security"].append(FIXED)  # which only the next index has
    for trouble in TROUBLES:
        # On a machine that has nothing of the archive, but for what it has seen of its dates.
        shutil.rmtree(site.path("cache") / "archive/default/lists")
        archive.clock += timedelta(minutes=10)
        if trouble is not older_than_before:
            archive.publish("noble-security")
        trouble(archive)
        report = site.act("run-once")
        assert report["outcome"] == "unchanged", trouble
        (note,) = (each for each in report["notes"] if "it is not known what is newer" in each)
        assert site.read("status")["freshness"]["unknown"] in note
        assert site.octavia() == promoted
        archive.server.gone, archive.server.cut = False, None
    archive.clock += timedelta(minutes=10)
    archive.publish("noble-security")
    assert site.act("run-once")["reasons"] == ["1 security update: haproxy 1.0 -> 1.1"]


HOSTILE = {
    "trusted": "deb [trusted=yes] {url} noble main",
    "file": "deb file:{local} ./",
    "copy": "deb copy:{local} ./",
    "trusted file": "deb [trusted=yes] file:{local} ./",
    "key of this machine": "deb [signed-by={local}/key.gpg] {url} noble main",
    "long": "deb {url} noble " + "x" * (1 << 20),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_hostile_evidence_builds_nothing_and_reads_nothing(
    site: CloudHarness, archive: SmallArchive, tmp_path: Path, line: str
) -> None:
    local = tmp_path / "local"
    local.mkdir()
    (local / "Packages").write_text("Package: haproxy\nVersion: 9\nArchitecture: amd64\n")
    shutil.copy(archive.directory / "keyring.gpg", local / "key.gpg")
    text = line.format(url=archive.url, local=local).encode()
    evidence = archive.evidence(OLD, files={"etc/apt/sources.list.d/more.list": text})
    site.fake_builder.evidence = evidence
    promoted = site.act("run-once", "--force")["image_id"]
    os.utime(local / "Packages", (0, 0))
    archive.server.forget()
    report = site.act("run-once")
    assert report["outcome"] == "unchanged"
    (note,) = (each for each in report["notes"] if "it is not known what is newer" in each)
    assert "more.list" in note
    assert len(note) < 1000
    assert site.octavia() == promoted
    assert archive.server.requests == []
    # With relatime, a file that was read has a later time of access than of change.
    assert (local / "Packages").stat().st_atime == 0


@pytest.mark.slow
def test_evidence_goes_with_its_image_and_no_tag_comes_to_it(
    site: CloudHarness, archive: SmallArchive
) -> None:
    (first,) = companions(site)
    for version in ("1.1", "1.2", "1.3"):
        fixed = Package(name="haproxy", version=version)
        archive.add("noble-security", fixed)
        install(site, archive, fixed, KERNEL)
        assert site.act("run-once")["outcome"] == "published"
    images = {image.id for image in site.amphorae()}
    assert companions(site).keys() == images
    assert first not in images
    assert all(
        (each["os_hidden"], each["visibility"], each["tags"]) == (True, "private", [])
        for each in companions(site).values()
    )
    # An image that somebody deletes leaves evidence to the next run.
    older = next(iter(images - {site.octavia()}))
    site.client.images.delete(older)
    assert older in companions(site)
    site.act("run-once")
    assert older not in companions(site)


@pytest.mark.slow
def test_a_release_of_the_agent_waits_as_others_and_is_built_once(
    site: CloudHarness, archive: SmallArchive, tmp_path: Path
) -> None:
    index = PythonIndex(directory=tmp_path / "index/simple")
    index.add("octavia", "16.0.0")
    index.add("pyroute2", "0.7")
    python = Package(name="python3", version="3.12.3-0ubuntu2")
    archive.add("noble", python)
    installed = [Distribution(name="octavia", version="16.0.0")]

    def built() -> Evidence:
        return archive.evidence(OLD, python, files={AGENT: written(installed)})

    site.fake_builder.evidence = built()
    with served(index.directory.parent) as server:
        site.toml += f'[build]\nagent = "pypi"\npython_index = "{server.url}/simple"\n'
        assert site.act("run-once")["outcome"] == "published"
        assert site.read("plan")["freshness"]["unknown"] is None
        index.add("octavia", "16.0.1")
        report = site.act("run-once")
        assert report["outcome"] == "unchanged"
        (known,) = site.read("status")["freshness"]["agent"]
        assert (known["package"], known["installed"], known["candidate"], known["cves"]) == (
            "octavia", "16.0.0", "16.0.1", [],
        )  # fmt: skip
        # A build that does not bring it is not repeated for it; one of a later release is.
        site.freshness_toml = '[freshness]\nbuild_for = "any"\nat_most_every = 0\ngather = 0\n'
        assert site.act("run-once")["reasons"] == ["1 update: octavia 16.0.0 -> 16.0.1"]
        assert site.act("run-once")["outcome"] == "unchanged"
        index.add("octavia", "16.0.2")
        installed[:] = [Distribution(name="octavia", version="16.0.2")]
        site.fake_builder.evidence = built()
        assert site.act("run-once")["reasons"] == ["1 update: octavia 16.0.0 -> 16.0.2"]
        assert site.read("plan")["freshness"]["agent"] == []
        # An index without an answer is a note, and security fixes of packages count.
        server.gone = True
        report = site.act("run-once")
        assert report["outcome"] == "unchanged"
        assert any("the agent of image" in note and "503" in note for note in report["notes"])
        assert "503" in site.read("plan")["freshness"]["unknown"]
        archive.add("noble-security", FIXED)
        # They are a reason to build, and no build finds its agent there: it is not begun.
        refused = site.retrofit("run-once", "-o", "json", exit_code=5).document
        assert refused["reasons"] == ["1 security update: haproxy 1.0 -> 1.1"]
        assert "503" in refused["error"]["message"]
        server.gone = False
        assert site.act("run-once")["reasons"] == ["1 security update: haproxy 1.0 -> 1.1"]


def test_advisories_name_a_fix_before_it_is_built(
    site: CloudHarness, archive: SmallArchive, tmp_path: Path
) -> None:
    release = {OS_RELEASE: b'ID=ubuntu\nVERSION_ID="24.04"\n'}
    site.fake_builder.evidence = archive.evidence(OLD, files=release)
    assert site.act("run-once", "--force")["outcome"] == "published"
    archive.add("noble-updates", FIXED)
    assert site.read("plan")["action"] == "none"
    records = tmp_path / "records.json"
    records.write_bytes(as_bytes(record()))
    site.freshness_toml = f'[freshness]\nadvisories = ["{records}"]\n'
    plan = site.read("plan")
    assert plan["reasons"] == ["1 security update: haproxy 1.0 -> 1.1"]
    (known,) = plan["freshness"]["security"]
    assert known["cves"] == ["CVE-2026-1234"]
    assert "haproxy 1.0 -> 1.1 (CVE-2026-1234)" in site.retrofit("plan").stdout
    assert site.read("status")["freshness"]["security"] == [known]
    assert "haproxy 1.0 -> 1.1 (CVE-2026-1234)" in site.retrofit("status").stdout
    records.unlink()
    report = site.act("run-once")
    assert report["outcome"] == "unchanged"
    assert any("records.json cannot be read" in note for note in report["notes"])


def test_two_images_are_compared(site: CloudHarness, archive: SmallArchive) -> None:
    (before,) = (image.id for image in site.amphorae())
    archive.add("noble-security", FIXED)
    install(site, archive, FIXED, Package(name="new", version="1"))
    after = site.act("run-once")["image_id"]
    assert after != before
    for words in ((), (before,), (before[:8], after[:8])):
        found = site.read("diff", *words)
        assert (found["before"]["id"], found["after"]["id"]) == (before, after)
        assert {each["package"]: (each["before"], each["after"]) for each in found["packages"]} == {
            "haproxy": ("1.0", "1.1"),
            "linux-image-9": ("1.0", None),
            "new": (None, "1"),
        }
        assert found["checks"] == []
        assert "retrofit_run_id" in {each["name"] for each in found["properties"]}
    listed = site.retrofit("diff", "-f", "value", "-c", "Name", "-c", "After").stdout
    assert "haproxy 1.1\n" in listed
    site.refused("diff", "nothing-like-it", exit_code=7)
