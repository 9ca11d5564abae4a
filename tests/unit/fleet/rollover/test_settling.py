"""What became of a failover, by what Octavia shows of the load balancer and its amphorae."""

from __future__ import annotations

from datetime import timedelta

import pytest

from retrofit.fleet.rollover.settling import Flight, Result, Settled, is_worse, settled
from retrofit.model import Amphora
from tests.unit.fleet.rollover.made import amphorae_of, balancer, candidate
from tests.unit.images import NOW

TIMEOUT = timedelta(minutes=10)
OLD = amphorae_of("lb", "pair")
NEW = tuple(
    Amphora(
        id=f"new-{role}",
        status="ALLOCATED",
        created_at=NOW,
        image_id="promoted",
        load_balancer_id="lb",
        role=role,
    )
    for role in ("MASTER", "BACKUP")
)
TALKING = {each.id: True for each in NEW}


def result(
    status: str | None = "ACTIVE",
    amphorae: tuple[Amphora, ...] = NEW,
    talking: dict[str, bool] | None = None,
    *,
    minutes: float = 1,
    ours: bool = True,
    operating: str = "ONLINE",
    talks: bool = True,
) -> Settled:
    flight = Flight(
        candidate=candidate("lb", "pair"),
        asked_at=NOW,
        accepted=frozenset({"promoted"}),
        ours=ours,
        talks=talks,
    )
    load_balancer = None if status is None else balancer("lb", status, operating_status=operating)
    return settled(
        flight,
        load_balancer,
        amphorae,
        TALKING if talking is None else talking,
        now=NOW + timedelta(minutes=minutes),
        timeout=TIMEOUT,
    )


def changed(status: str = "ALLOCATED", image: str | None = "promoted") -> tuple[Amphora, ...]:
    return (
        NEW[0],
        Amphora(
            id="new-BACKUP",
            status=status,
            created_at=NOW,
            image_id=image,
            load_balancer_id="lb",
            role="BACKUP",
        ),
    )


def test_moved_is_what_is_active_on_the_image_with_amphorae_that_send() -> None:
    assert result().result is Result.MOVED
    assert result(talking={}).result is Result.MOVED  # no listeners: nobody asks
    assert result(ours=False).result is Result.MOVED


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"status": "PENDING_UPDATE", "amphorae": OLD}, "only Octavia's operator"),
        ({"amphorae": changed("BOOTING", None)}, "amphora new-BACKUP is BOOTING"),
        ({"amphorae": changed("ERROR")}, "amphora new-BACKUP is ERROR"),
        ({"talking": {"new-MASTER": True, "new-BACKUP": False}}, "has sent no statistics"),
        ({"operating": "ERROR"}, "operating status is ERROR, and was ONLINE"),
        ({"operating": "OFFLINE"}, "operating status is OFFLINE"),
        ({"amphorae": ()}, "no amphora"),
    ],
)
def test_what_is_still_missing_is_waited_for_and_then_a_failure(
    given: dict[str, object], reason: str
) -> None:
    assert result(**given).result is Result.PENDING  # type: ignore[arg-type]
    late = result(**given, minutes=10)  # type: ignore[arg-type]
    assert late.result is Result.FAILED
    assert reason in late.reason


@pytest.mark.parametrize("minutes", [0, 1, 60])
def test_failed_is_what_no_waiting_mends(minutes: float) -> None:
    error = result("ERROR", OLD, minutes=minutes)
    assert (error.result, error.wrong_image) == (Result.FAILED, False)
    wrong = result(amphorae=changed(image="other"), minutes=minutes)
    assert (wrong.result, wrong.wrong_image) == (Result.FAILED, True)
    assert "started from image other" in wrong.reason
    not_replaced = result(amphorae=(NEW[0], OLD[1]), minutes=minutes)
    assert not_replaced.result is Result.FAILED
    assert "was not replaced" in not_replaced.reason


def test_what_others_do_to_a_load_balancer_is_no_failure() -> None:
    assert result(amphorae=OLD, ours=False).result is Result.UNCHANGED
    assert result(None, ()).result is Result.GONE
    assert result("DELETED", ()).result is Result.GONE
    assert result("PENDING_DELETE", OLD, minutes=60).result is Result.GONE
    dying = (*NEW, Amphora(**{**vars(OLD[0]), "status": "PENDING_DELETE"}))
    assert result(amphorae=dying).result is Result.MOVED


def test_amphorae_that_sent_nothing_before_need_not_send() -> None:
    silent = dict.fromkeys(TALKING, False)
    assert result(talking=silent, talks=False, minutes=60).result is Result.MOVED


def test_operating_statuses_have_an_order() -> None:
    assert is_worse("ONLINE", "DEGRADED")
    assert is_worse("NO_MONITOR", "OFFLINE")
    assert not is_worse("ONLINE", "NO_MONITOR")
    assert not is_worse("ERROR", "ONLINE")
    assert is_worse("ERROR", "SOMETHING_NEW")
    assert not is_worse("ERROR", "ERROR")
