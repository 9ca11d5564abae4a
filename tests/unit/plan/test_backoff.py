from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.config import BuildSettings, SourceSettings
from retrofit.config.build import YEAR_MINUTES
from retrofit.errors import BuildError, RetrofitError, VerifyError
from retrofit.plan import FailedBuild, inputs_of
from retrofit.runs import failures, store
from retrofit.runs.failures import forget_failures, last_failure, remember_failure
from retrofit.source.choose import choose_source
from tests.unit.images import NOW, OWN, synced

SETTINGS = BuildSettings(retry_after=15, retry_max=24 * 60)


def failed(**changed: Any) -> FailedBuild:
    known: dict[str, Any] = {
        "inputs": "source recipe",
        "count": 1,
        "last_at": NOW,
        "code": "build",
        "message": "disk-image-create failed",
        "run_id": "20261122T120000Z-abcdef",
    }
    return FailedBuild(**{**known, **changed})


def wait(count: int, settings: BuildSettings = SETTINGS) -> timedelta:
    return failed(count=count).retry_at(settings) - NOW


def test_the_wait_doubles_up_to_its_cap() -> None:
    minutes = [wait(count) // timedelta(minutes=1) for count in range(1, 10)]
    assert minutes == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]


@given(st.integers(1, 10**30), st.integers(1, YEAR_MINUTES), st.integers(1, YEAR_MINUTES))
def test_the_wait_never_shrinks_with_more_failures_and_never_passes_its_cap(
    count: int, after: int, at_most: int
) -> None:
    settings = BuildSettings(retry_after=after, retry_max=at_most)
    assert wait(count, settings) <= wait(count + 1, settings) <= timedelta(minutes=at_most)
    assert wait(count, settings) >= timedelta(minutes=min(after, at_most))


def test_a_wait_beyond_the_last_year_ends_with_it() -> None:
    last = failed(count=60, last_at=datetime.max.replace(tzinfo=UTC) - timedelta(minutes=1))
    assert last.retry_at(SETTINGS) == datetime.max.replace(tzinfo=UTC)


def test_the_same_inputs_wait_and_others_do_not() -> None:
    for minutes, held in ((0, True), (14, True), (15, False), (99, False)):
        now = NOW + timedelta(minutes=minutes)
        assert failed().holds_back("source recipe", SETTINGS, now) is held
        assert not failed().holds_back("other source", SETTINGS, now)


def test_a_failure_from_the_future_holds_nothing_back() -> None:
    assert not failed().holds_back("source recipe", SETTINGS, NOW - timedelta(seconds=1))


def test_inputs_differ_by_product_version_bytes_and_recipe() -> None:
    images = [
        synced("20260911"),
        synced("20260912"),
        synced("20260911", hash_value="other"),
        synced("20260911", stream=".daily"),
    ]
    chosen = [choose_source([i], SourceSettings(), own_project=OWN).source for i in images]
    named = {inputs_of(one, recipe) for one in chosen if one for recipe in ("a", "b")}
    assert len(named) == 8


def test_a_record_survives_being_written_and_read() -> None:
    made = failed(count=3)
    assert FailedBuild.from_dict(made.as_dict()) == made


@pytest.mark.parametrize(
    "broken",
    [
        {"last_at": "yesterday"},
        {"last_at": 7},
        {"last_at": None},
        {"count": "many"},
        {"count": None},
        {"count": []},
    ],
)
def test_a_broken_record_is_none(broken: dict[str, Any]) -> None:
    assert FailedBuild.from_dict({**failed().as_dict(), **broken}) is None


def test_a_record_without_one_of_its_keys_is_none_and_one_without_zone_is_utc() -> None:
    whole = failed().as_dict()
    for key in whole:
        assert FailedBuild.from_dict({k: v for k, v in whole.items() if k != key}) is None
    naive = FailedBuild.from_dict({**whole, "last_at": "2026-11-22T12:00:00", "count": -3})
    assert naive is not None
    assert (naive.last_at, naive.count) == (NOW, 1)


class TestRecord:
    def remember(self, where: Path, inputs: str, error: RetrofitError | None = None) -> int:
        error = error or BuildError("no space")
        remember_failure(where, "default", error, inputs=inputs, run_id="the run")
        record = last_failure(where, "default")
        assert record is not None
        assert (record.message, record.code) == (error.message, error.code)
        return record.count

    def test_counts_on_for_the_same_inputs_and_anew_for_others(self, tmp_path: Path) -> None:
        assert self.remember(tmp_path, "a") == 1
        assert self.remember(tmp_path, "a", VerifyError("no HAProxy")) == 2
        assert self.remember(tmp_path, "b") == 1
        assert self.remember(tmp_path, "a") == 1
        assert last_failure(tmp_path, "other") is None

    def test_is_forgotten_when_a_build_succeeds(self, tmp_path: Path) -> None:
        self.remember(tmp_path, "a")
        forget_failures(tmp_path, "default")
        assert last_failure(tmp_path, "default") is None
        forget_failures(tmp_path, "default")

    def test_is_as_good_as_none_when_it_is_broken(self, tmp_path: Path) -> None:
        self.remember(tmp_path, "a")
        (path,) = store.directory_of(tmp_path, "default").iterdir()
        for content in ("{", '{"version": 1}', '{"version": 9, "count": 1}'):
            path.write_text(content)
            assert last_failure(tmp_path, "default") is None
        assert self.remember(tmp_path, "a") == 1

    def test_never_hides_the_failure_that_it_is_about(self, tmp_path: Path) -> None:
        (tmp_path / "targets").write_text("a file is in the way")
        error = BuildError("no space")
        remember_failure(tmp_path, "default", error, inputs="a", run_id="the run")
        assert last_failure(tmp_path, "default") is None
        forget_failures(tmp_path, "default")

    def test_tells_when(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = datetime.now(UTC).replace(microsecond=0)
        self.remember(tmp_path, "a")
        record = last_failure(tmp_path, "default")
        assert record is not None
        assert before <= record.last_at <= datetime.now(UTC)
        assert failures.last_failure(tmp_path, "default") == record
