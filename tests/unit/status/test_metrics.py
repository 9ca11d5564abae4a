"""Labels of cloud and region, times since when, failures in a row, durations, limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from retrofit.config import CloudSettings, OctaviaSettings, Settings
from retrofit.runs.history import BUILD_BUCKETS, build_bucket
from retrofit.status import status_document
from retrofit.status.metrics import exposition
from retrofit.status.sentences import age
from retrofit.times import days_between, span
from tests.unit.status import scenes

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(scene: scenes.Scene, settings: Settings | None = None) -> Samples:
    settings = settings or scenes.settings()
    (name,) = (target.name for target in settings.targets)
    document = status_document(
        settings, {name: scene.cloud}, {name: scene.local}, now=scenes.NOW, host="c1"
    )
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition(document).decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset({"target": "default", **labels}.items())))


def with_target(**changes: object) -> Settings:
    settings = scenes.settings()
    target = settings.targets[0].model_copy(update=changes)
    return settings.model_copy(update={"targets": (target,)})


def test_cloud_and_region_are_labels_of_all_that_is_of_a_target() -> None:
    settings = with_target(cloud=CloudSettings(name="production", region="north"))
    found = samples(scenes.paused(), settings)
    of_targets = [dict(labels) for _, labels in found if "target" in dict(labels)]
    assert len(of_targets) > 40
    assert {(each["cloud"], each["region"]) for each in of_targets} == {("production", "north")}


def test_what_is_not_configured_is_no_label() -> None:
    assert not any(
        {"cloud", "region"} & {key for key, _ in labels} for _, labels in samples(scenes.ok())
    )


def test_since_when_it_is_paused_fails_and_runs() -> None:
    since = "retrofit_paused_since_timestamp_seconds"
    assert value(samples(scenes.ok()), since) is None
    paused = scenes.paused()
    assert paused.cloud.target is not None
    assert paused.cloud.target.paused is not None
    assert value(samples(paused), since) == paused.cloud.target.paused.since.timestamp()
    failed = scenes.failed()
    history = failed.local.history.model_copy(
        update={"failing_since": scenes.ago(hours=3), "failures_in_row": 4}
    )
    found = samples(replace(failed, local=replace(failed.local, history=history)))
    began = value(found, "retrofit_failing_since_timestamp_seconds")
    assert began == scenes.ago(hours=3).timestamp()
    assert value(found, "retrofit_consecutive_failures") == 4
    running = value(samples(scenes.running()), "retrofit_run_started_timestamp_seconds")
    assert running == scenes.ago(minutes=10).timestamp()


def test_durations_of_builds_are_a_histogram() -> None:
    scene = scenes.ok()
    history = scene.local.history.model_copy(
        update={"build_durations": {"600": 3, "3600": 1, "+Inf": 1}, "build_seconds": 9000.0}
    )
    found = samples(replace(scene, local=replace(scene.local, history=history)))
    name = "retrofit_build_duration_seconds"
    buckets = {bound: value(found, f"{name}_bucket", le=bound) for bound in BUILD_BUCKETS}
    assert (buckets["300"], buckets["600"], buckets["2700"]) == (0, 3, 3)
    assert (buckets["3600"], buckets["7200"], buckets["+Inf"]) == (4, 4, 5)
    assert (value(found, f"{name}_count"), value(found, f"{name}_sum")) == (5, 9000.0)


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.1, "60"), (60, "60"), (60.1, "120"), (7201, "+Inf")]
)
def test_a_build_counts_in_the_smallest_bucket_that_it_kept_to(seconds: float, bound: str) -> None:
    assert build_bucket(seconds) == bound


def test_limits_of_the_configuration_are_exported() -> None:
    settings = scenes.settings()
    target = settings.targets[0]
    publish = target.publish.model_copy(update={"stale_after": 5})
    changed = with_target(publish=publish)
    web = settings.web.model_copy(update={"healthy_within": 3})
    found = samples(scenes.ok(), changed.model_copy(update={"web": web}))
    assert value(found, "retrofit_stale_after_seconds") == 5 * 86400
    assert found["retrofit_healthy_within_seconds", frozenset()] == 3 * 3600


def test_a_limit_of_never_is_no_limit_to_a_rule() -> None:
    settings = scenes.settings()
    publish = settings.targets[0].publish.model_copy(update={"stale_after": "never"})
    web = settings.web.model_copy(update={"healthy_within": "never"})
    found = samples(scenes.ok(), with_target(publish=publish).model_copy(update={"web": web}))
    assert value(found, "retrofit_stale_after_seconds") is None
    assert ("retrofit_healthy_within_seconds", frozenset()) not in found


def test_octavia_that_is_not_to_be_asked_is_not_missed() -> None:
    never = with_target(octavia=OctaviaSettings(query="never"))
    assert value(samples(scenes.never_run(), never), "retrofit_octavia_answers") is None
    assert value(samples(scenes.never_run()), "retrofit_octavia_answers") == 0


def test_ages_are_exact() -> None:
    image = scenes.image(created_at=scenes.iso(minutes=65))
    scene = scenes.ok()
    found = samples(replace(scene, cloud=replace(scene.cloud, target=scenes.in_cloud(image))))
    seconds = value(found, "retrofit_promoted_image_age_seconds")
    assert seconds == pytest.approx(65 * 60, abs=1)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0, "0 minutes old"), (1, "1 minute old"), (65, "65 minutes old"), (119, "119 minutes old"),
        (120, "2 hours old"), (47 * 60, "47 hours old"), (48 * 60, "2 days old"),
        (60 * 24 * 60, "60 days old"), (-10, "from the future"),
    ],
)  # fmt: skip
def test_an_age_in_words_is_never_rounded_up(minutes: float, words: str) -> None:
    assert age(days_between(scenes.ago(minutes=minutes), scenes.NOW)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "second"), (90, "90 seconds"), (60, "minute"), (600, "10 minutes"), (3600, "hour"),
        (5400, "90 minutes"), (7200, "2 hours"), (86400, "day"), (172800, "2 days"),
    ],
)  # fmt: skip
def test_a_configured_duration_is_named_by_its_largest_unit(seconds: int, words: str) -> None:
    assert span(seconds) == words
