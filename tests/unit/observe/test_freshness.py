"""Evidence is taken from where it is, and believed only where the image vouches for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retrofit.archive.evidence import STATUS, Evidence, EvidenceError, digest_of, pack
from retrofit.archive.offer import ArchiveError, Offer, Update, UpdateKind
from retrofit.config import PathSettings, Settings, Target
from retrofit.model import Image
from retrofit.observe import freshness
from retrofit.observe.freshness import find_evidence, observe_freshness
from retrofit.publish.evidence import keep_evidence
from retrofit.publish.upload import upload
from tests.model.memory_glance import MemoryGlance
from tests.model.world import World
from tests.unit.images import NOW

TARGET = Target()
EVIDENCE = Evidence(files={STATUS: b"Package: a\n"}).with_offered([("a", "2")])
PACKED = pack(EVIDENCE)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def glance(world: World) -> Any:
    return MemoryGlance(world)


@pytest.fixture
def image(world: World, glance: Any, tmp_path: Path) -> Image:
    """An image with its companion."""
    path = tmp_path / "file"
    path.write_bytes(PACKED)

    def attributes(image_id: str) -> dict[str, str]:
        digest = digest_of(PACKED)
        return {
            "id": image_id,
            "name": "x",
            "retrofit_image_id": image_id,
            "retrofit_evidence": digest,
        }

    made = upload(glance, attributes, path, retries=0)
    keep_evidence(made, path, TARGET, glance, run_id="run", state_id="state")
    return world.images[made.id]


class TestFindEvidence:
    def test_another_machine_reads_it_from_glance_and_keeps_it(
        self, image: Image, glance: Any, tmp_path: Path
    ) -> None:
        assert find_evidence(image, tmp_path / "cache", glance) == EVIDENCE
        calls = glance.calls
        assert find_evidence(image, tmp_path / "cache", glance) == EVIDENCE
        assert glance.calls == calls

    def test_a_copy_whose_time_cannot_be_set_is_as_good(
        self, image: Image, world: World, glance: Any, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        find_evidence(image, tmp_path / "cache", glance)
        world.content.clear()

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError

        monkeypatch.setattr(Path, "touch", refuse)
        assert find_evidence(image, tmp_path / "cache", glance) == EVIDENCE

    @pytest.mark.parametrize("content", [b"", PACKED[:-1], b"other"])
    def test_a_cache_with_other_bytes_is_not_believed(
        self, image: Image, glance: Any, tmp_path: Path, content: bytes
    ) -> None:
        find_evidence(image, tmp_path / "cache", glance)
        (kept,) = (tmp_path / "cache/evidence").iterdir()
        kept.write_bytes(content)
        assert find_evidence(image, tmp_path / "cache", glance) == EVIDENCE
        assert kept.read_bytes() == PACKED

    def test_other_bytes_in_glance_are_not_believed(
        self, image: Image, world: World, glance: Any, tmp_path: Path
    ) -> None:
        world.content[image.properties["retrofit_evidence_id"]] = b"other"
        with pytest.raises(EvidenceError, match="not what the image records"):
            find_evidence(image, tmp_path, glance)

    def test_a_lost_companion_is_said(
        self, image: Image, world: World, glance: Any, tmp_path: Path
    ) -> None:
        del world.images[image.properties["retrofit_evidence_id"]]
        with pytest.raises(EvidenceError, match="not in Glance"):
            find_evidence(image, tmp_path, glance)

    def test_a_record_of_somebody_else_is_not_taken_for_it(
        self, image: Image, world: World, glance: Any, tmp_path: Path
    ) -> None:
        world.change(image.properties["retrofit_evidence_id"], owner="another")
        with pytest.raises(EvidenceError, match="not in Glance"):
            find_evidence(image, tmp_path, glance)

    @pytest.mark.parametrize("digest", ["", "../../../etc/passwd", "x" * 4000 + "/"])
    def test_a_digest_is_no_path(
        self, image: Image, world: World, glance: Any, tmp_path: Path, digest: str
    ) -> None:
        changed = {**image.properties, "retrofit_evidence": digest}
        world.change(image.id, properties=changed)
        with pytest.raises(EvidenceError):
            find_evidence(world.images[image.id], tmp_path, glance)

    def test_an_image_of_0_1_has_none(self, image: Image, glance: Any, tmp_path: Path) -> None:
        bare = Image(id=image.id, name="x", status="active", owner=image.owner, created_at=NOW)
        with pytest.raises(EvidenceError, match="has no evidence"):
            find_evidence(bare, tmp_path, glance)


class TestObserve:
    def settings(self, directory: Path) -> Settings:
        paths = {name: directory / name for name in ("state", "cache", "work", "logs")}
        return Settings(targets=(TARGET,), paths=PathSettings(**paths))

    def test_what_was_offered_before_and_since_when_an_update_is_known(
        self, image: Image, glance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Evidence] = []

        def ask(evidence: Evidence, _root: Path, *, now: datetime, **_: Any) -> Offer:
            asked.append(evidence)
            update = Update(
                package="b", source="b", installed="1", candidate="2", kind=UpdateKind.OTHER
            )
            return Offer(checked_at=now, updates=(update,), newest_index=None)

        monkeypatch.setattr(freshness, "ask", ask)
        settings, later = self.settings(tmp_path), NOW + timedelta(days=3)
        observe_freshness(image, TARGET, settings, glance, NOW)
        seen = observe_freshness(image, TARGET, settings, glance, later)
        assert asked == [EVIDENCE, EVIDENCE]
        assert seen.offered == {("a", "2")}
        assert seen.first_seen == {("b", "2"): NOW}
        assert seen.unknown is None

    def test_what_was_known_of_the_agent_stays_where_its_index_does_not_answer(
        self, image: Image, glance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fix, package, later = (
            Update(package="octavia", source="octavia", installed="1", candidate="2",
                   kind=UpdateKind.AGENT, has_fix=True),
            Update(package="b", source="b", installed="1", candidate="2", kind=UpdateKind.OTHER),
            Update(package="c", source="c", installed="1", candidate="2", kind=UpdateKind.OTHER),
        )  # fmt: skip
        answers = [
            ((package, fix), None),
            ((package,), "uv pip compile failed: 503"),
            ((package, later), "uv pip compile failed: 503"),
            ((package,), None),
        ]

        def ask(_evidence: Evidence, _root: Path, *, now: datetime, **_: Any) -> Offer:
            updates, unknown = answers.pop(0)
            return Offer(checked_at=now, updates=updates, newest_index=None, agent_unknown=unknown)

        monkeypatch.setattr(freshness, "ask", ask)
        settings = self.settings(tmp_path)
        first, second, third, fourth = (
            observe_freshness(image, TARGET, settings, glance, NOW + timedelta(days=day))
            for day in range(4)
        )
        assert first.offer is not None
        assert second.offer is not None
        assert second.fixes == first.fixes == (fix,)
        assert second.offer.digest == first.offer.digest
        assert second.whole_unknown == "uv pip compile failed: 503"
        assert third.first_seen == {
            fix.key: NOW, package.key: NOW, later.key: NOW + timedelta(days=2),
        }  # fmt: skip
        # An index that answers is believed.
        assert fourth.fixes == ()
        assert fourth.first_seen == {package.key: NOW}

    def test_an_archive_that_does_not_answer_is_no_error(
        self, image: Image, glance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ask(*_: Any, **__: Any) -> Offer:
            raise ArchiveError("no answer from http://archive.example")

        monkeypatch.setattr(freshness, "ask", ask)
        seen = observe_freshness(image, TARGET, self.settings(tmp_path), glance, NOW)
        assert (seen.offer, seen.unknown) == (None, "no answer from http://archive.example")

    def test_lost_evidence_stays_lost_and_an_archive_may_answer_next_time(
        self, image: Image, glance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ask(*_: Any, **__: Any) -> Offer:
            raise ArchiveError("no answer from http://archive.example")

        monkeypatch.setattr(freshness, "ask", ask)
        settings = self.settings(tmp_path)
        assert freshness.freshness_of(image, TARGET, settings, glance, NOW).unanswered
        lost = replace(image, properties={})
        assert not freshness.freshness_of(lost, TARGET, settings, glance, NOW).unanswered
