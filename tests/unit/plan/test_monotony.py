"""What a run never does by itself: go back, lower the proof, or promote what a person rejected."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from retrofit.config import (
    BuildSettings,
    MirrorSettings,
    PublishSettings,
    SourceSettings,
    Target,
    VerifySettings,
)
from retrofit.model import Image, Source
from retrofit.plan import Decision, FailedBuild, Inventory, Machine, decide, inputs_of
from retrofit.source.choose import choose_source
from tests.unit.images import NOW, OWN, amphora, charm_image, synced

RECIPE = "sha256:recipe"
REJECTED = {
    "retrofit_rejected_at": "2026-11-20T00:00:00+00:00",
    "retrofit_set_aside_at": "2026-11-20T00:00:00+00:00",
}


def target(**source: Any) -> Target:
    return Target(source=SourceSettings(**source))


def chosen(image: Image, settings: Target) -> Source:
    source = choose_source([image], settings.source, own_project=OWN).source
    assert source is not None
    return source


def decision(
    *images: Image,
    source: Image | None = None,
    settings: Target | None = None,
    recipe: str = RECIPE,
    force: bool = False,
) -> Decision:
    settings = settings or target()
    inventory = Inventory(images=images, own_project=OWN, now=NOW)
    there = chosen(source or synced(), settings)
    return decide(inventory, settings, there, recipe=recipe, force=force)


def of_product(number: int, product: str, version: str = "20260911", **fields: Any) -> Image:
    made = amphora(number, version=version, tagged=True, **fields)
    return replace(made, properties={**made.properties, "source_product_name": product})


NOBLE = "com.ubuntu.cloud:server:24.04:amd64"
DAILY = "com.ubuntu.cloud.daily:server:24.04:amd64"
MINIMAL = "com.ubuntu.cloud:minimal:24.04:amd64"


class TestGoesNowhereBehind:
    @pytest.mark.parametrize(
        ("standing", "source", "settings"),
        [
            pytest.param(
                of_product(1, NOBLE), synced("20261101", release="22.04"), target(), id="series"
            ),
            pytest.param(
                of_product(1, DAILY, "20260912"), synced("20260911"), target(), id="stream is older"
            ),
            pytest.param(
                of_product(1, NOBLE), synced(stream=".daily"), target(), id="less preferred stream"
            ),
            pytest.param(
                of_product(1, NOBLE),
                synced(variant="minimal"),
                target(variants=("server", "minimal")),
                id="variant",
            ),
            pytest.param(amphora(1, tagged=True), synced("20260801"), target(), id="version"),
            pytest.param(charm_image(1), synced(release="22.04"), target(), id="of the charm"),
        ],
    )
    @pytest.mark.parametrize("recipe", [RECIPE, "sha256:other"])
    def test_from_what_stands(
        self, standing: Image, source: Image, settings: Target, recipe: str
    ) -> None:
        made = decision(standing, source=source, settings=settings, recipe=recipe)
        assert (made.build, made.promote) == (False, None)
        assert "check that the synchroniser runs" in made.notes[0]
        assert decision(standing, source=source, settings=settings, force=True).build

    @pytest.mark.parametrize(
        ("standing", "source", "settings"),
        [
            pytest.param(
                of_product(1, "com.ubuntu.cloud:server:22.04:amd64", "20261101"),
                synced("20260911"),
                target(),
                id="a preferred series, of an older day",
            ),
            pytest.param(
                of_product(1, NOBLE), synced("20260912", stream=".daily"), target(), id="newer"
            ),
            pytest.param(
                of_product(1, DAILY, "20260912"),
                synced("20260911"),
                target(stream="released"),
                id="the settings ended a stream",
            ),
            pytest.param(
                of_product(1, NOBLE),
                synced(release="22.04"),
                target(series=("jammy",)),
                id="the settings ended a series",
            ),
        ],
    )
    def test_but_to_what_a_person_or_the_order_wants(
        self, standing: Image, source: Image, settings: Target
    ) -> None:
        assert decision(standing, source=source, settings=settings).build

    def test_unless_nothing_can_start_from_what_stands(self) -> None:
        made = decision(amphora(1, tagged=True, size=0), source=synced("20260801"))
        assert made.build
        assert "used all the same" in " ".join(made.notes)


class TestProof:
    """A promoted image is proven as far as the settings demand now."""

    @pytest.mark.parametrize(
        ("recorded", "demanded", "falls_short"),
        [
            ("owner", "digest", True),
            ("digest", "signed", True),
            ("digest", "digest", False),
            ("signed", "digest", False),
            (None, "owner", True),
            ("a new word", "owner", True),
            (None, "auto", False),
        ],
    )
    def test_of_its_source(self, recorded: str | None, demanded: str, falls_short: bool) -> None:
        settings = (
            Target.model_validate({"source": {"trust": demanded}})
            if (demanded != "signed")
            else Target(
                source=SourceSettings(trust="signed"),
                mirror=MirrorSettings(url="file:///srv", keyring=__file__),
            )
        )
        self.check({"retrofit_source_trust": recorded}, settings, falls_short, "source.trust")

    @pytest.mark.parametrize(
        ("recorded", "demanded", "falls_short"),
        [
            ("offline", "boot", True),
            ("boot-tcg", "boot", False),
            ("full-kvm", "boot", False),
            ("boot-kvm", "offline", False),
            ("boot-tcg", "full", True),
            ("full-tcg", "full", False),
            (None, "offline", True),
            ("boots", "boot", True),
        ],
    )
    def test_of_its_verification(
        self, recorded: str | None, demanded: Any, falls_short: bool
    ) -> None:
        settings = Target(verify=VerifySettings(level=demanded))
        self.check({"retrofit_verification": recorded}, settings, falls_short, "verify.level")

    def check(
        self, recorded: dict[str, str | None], settings: Target, falls_short: bool, setting: str
    ) -> None:
        standing, spare = amphora(1, tagged=True), amphora(2)
        weak = [
            replace(
                image,
                properties={k: v for k, v in {**image.properties, **recorded}.items() if v},
            )
            for image in (standing, spare)
        ]
        made = decision(weak[0], settings=settings)
        assert made.build is falls_short
        assert (setting in "".join(made.reasons)) is falls_short
        # Nor is one promoted that falls short.
        made = decision(amphora(0, tagged=True, version="20260801"), weak[1], settings=settings)
        assert (made.promote is None) is falls_short


class TestRejected:
    @pytest.mark.parametrize(
        "others",
        [
            pytest.param((), id="nothing else"),
            pytest.param((amphora(1, tagged=True, hidden=True),), id="one that somebody hid"),
            pytest.param((amphora(1, tagged=True, size=0),), id="one that is damaged"),
            pytest.param(
                (amphora(1, promoted_before=True, version="20260801"),), id="one without tag"
            ),
        ],
    )
    @pytest.mark.parametrize(
        "properties", [{}, REJECTED], ids=["untagged with other tools", "rolled back"]
    )
    def test_stays_so_whatever_else_there_is(
        self, others: tuple[Image, ...], properties: dict[str, str]
    ) -> None:
        rejected = amphora(5, promoted_before=True, properties=properties)
        made = decision(*others, rejected)
        assert made.promote is None
        assert made.build
        assert "`retrofit promote amphora-0005` promotes it again" in " ".join(made.notes)

    def test_counts_for_what_a_person_hid_as_well(self) -> None:
        made = decision(amphora(5, tagged=True, hidden=True))
        assert (made.build, made.promote) == (True, None)
        assert "somebody hid it" in made.notes[0]

    def test_for_one_that_falls_short_is_reported_with_what_that_lacks(self) -> None:
        weak = amphora(1, tagged=True, properties={"retrofit_source_trust": "owner"})
        made = decision(
            weak,
            amphora(5, promoted_before=True, properties=REJECTED),
            settings=target(trust="digest"),
        )
        assert (made.build, made.promote) == (False, None)
        assert 'trusted as "owner"' in made.notes[-1]

    def test_stays_tagged_where_nothing_else_is_and_is_reported(self) -> None:
        made = decision(amphora(1, tagged=True, properties=REJECTED))
        assert (made.build, made.promote) == (False, None)
        assert "takes the rejection back" in made.notes[0]


@pytest.mark.parametrize("damaged", [False, True])
def test_what_another_machine_promoted_stays_unless_nothing_can_start_from_it(
    damaged: bool,
) -> None:
    marks = {"retrofit_state_id": "another", **({"retrofit_damaged_at": "now"} if damaged else {})}
    images = amphora(9, tagged=True, properties={**marks, "retrofit_recipe": "other"}), amphora(2)
    here = Machine(state_id="here", lock_shared=False)
    inventory = Inventory(images=images, own_project=OWN, now=NOW, machine=here)
    made = decide(inventory, target(), chosen(synced(), target()), recipe=RECIPE, force=False)
    assert made.promote == (images[1] if damaged else None)
    assert not made.build


def test_failures_wait_by_the_clock_that_recorded_them() -> None:
    settings = Target(build=BuildSettings(retry_after=60), publish=PublishSettings())
    source = chosen(synced(), settings)
    here = NOW + timedelta(days=3000)  # this machine's clock is years ahead of Glance's
    failed = FailedBuild(
        inputs=inputs_of(source, RECIPE),
        count=1,
        last_at=here - timedelta(minutes=5),
        code="build_failed",
        message="no",
        run_id="run",
    )
    inventory = Inventory(images=(), own_project=OWN, now=NOW)
    made = decide(
        inventory, settings, source, recipe=RECIPE, force=False, failed=failed, clock=here
    )
    assert made.held_back == failed
