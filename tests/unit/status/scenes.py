"""Targets in every state that they can be in, as the overview's facts; made for one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from retrofit.chronicle import Chronicle
from retrofit.config import PathSettings, Settings, Target
from retrofit.overview import CloudFacts, Going, LocalFacts, overview

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
IMAGE = "7f3c2a10-98d1-4b7e-a7a5-3d0f5f2f9a11"
OLDER = "1b9e77c4-02aa-4f52-8f0e-6f1f0a4b2c33"
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)> \"'&{{7*7}}\u202eabc\x07"
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that an overview is made of."""

    cloud: CloudFacts
    local: LocalFacts


def iso(**ago: float) -> str:
    return (NOW - timedelta(**ago)).isoformat(timespec="seconds")


def settings(tmp_path: Path | None = None, *names: str) -> Settings:
    root = tmp_path or Path("/nowhere")
    paths = PathSettings(
        state=root / "state", cache=root / "cache", work=root / "work", logs=root / "logs"
    )
    return Settings(targets=tuple(Target(name=name) for name in names or ("default",)), paths=paths)


def image(**changed: Any) -> dict[str, Any]:
    """An amphora image as `image_as_dict` shows it."""
    return {
        "id": IMAGE,
        "name": "amphora-haproxy-x86_64-ubuntu-24.04-20261115",
        "target": "default",
        "made_by": "retrofit",
        "status": "active",
        "promoted": True,
        "set_aside": False,
        "usable": True,
        "hidden": False,
        "protected": False,
        "created_at": iso(days=4.5),
        "age_days": 4.5,
        "size": 487 << 20,
        "min_disk": 3,
        "tags": ["octavia-amphora"],
        "source_product_name": "com.ubuntu.cloud:server:24.04:amd64",
        "source_version_name": "20261115",
        "retrofit_recipe": "sha256:0123",
        "retrofit_run_id": "20261118T000000Z-a1b2c3",
        "retrofit_verified_at": iso(days=4.5),
        "retrofit_verification": "boot-kvm",
        "retrofit_promoted_at": iso(days=4.5),
        "retrofit_demoted_at": None,
        "retrofit_set_aside_at": None,
        "haproxy_version": "2.8.5-1ubuntu3.4",
        "amphora_agent_version": "14.0.1",
        "kernel_version": "6.8.0-90-generic",
        **changed,
    }


def report(outcome: str = "unchanged", *, hours: float = 1, **changed: Any) -> dict[str, Any]:
    """A run as its report tells of it, begun `hours` ago."""
    begun = NOW - timedelta(hours=hours)
    steps = [("plan", 0.8), ("sweep", 0.2)]
    if outcome in {"published", "failed"}:
        steps += [("preflight", 0.4), ("fetch", 41.0), ("build", 312.5), ("verify", 187.0)]
    if outcome == "published":
        steps += [("upload", 24.0), ("promote", 0.6), ("demote", 0.4), ("retire", 0.3)]
    return {
        "run_id": f"{begun:%Y%m%dT%H%M%SZ}-a1b2c3",
        "target": "default",
        "action": "run",
        "outcome": outcome,
        "reasons": {
            "published": ["new source version 20261115 (was 20261030)"],
            "unchanged": [f"image {IMAGE} is promoted and current"],
            "failed": ["new source version 20261121 (was 20261115)"],
        }.get(outcome, []),
        "notes": [],
        "source": {
            "id": "c0ffee00-0000-4000-8000-000000000001",
            "product": "com.ubuntu.cloud:server:24.04:amd64",
            "version": "20261121" if outcome == "failed" else "20261115",
        },
        "image_id": IMAGE,
        "promoted": [IMAGE] if outcome == "published" else [],
        "started_at": begun.isoformat(timespec="seconds"),
        "steps": [{"name": name, "seconds": seconds} for name, seconds in steps],
        "verification": None,
        "error": {
            "code": "verify",
            "message": "the image is not a working amphora: lvs-masquerade.sh: not there",
            "hint": "the evidence is in /var/log/retrofit",
        }
        if outcome in {"failed", "waiting"}
        else None,
        "log_dir": "/var/log/retrofit/x",
        **changed,
    }


def plan(action: str = "none", **changed: Any) -> dict[str, Any]:
    return {
        "action": action,
        "reasons": [],
        "notes": [],
        "source": None,
        "promote": None,
        "demote": [],
        "retire": [],
        "held_back_by": None,
        "error": None,
        **changed,
    }


def fleet(**changed: Any) -> dict[str, Any]:
    """An audit in which some load balancers still run on the image before."""
    row = {"target": "default", "owner": "own", "status": "active", "hidden": False}
    return {
        "target": "default",
        "octavia": {
            "answers": True,
            "reason": None,
            "amphorae": 9,
            "load_balancers": 6,
            "booting": 0,
        },
        "images": [
            {
                **row,
                "id": IMAGE,
                "name": "amphora-haproxy-x86_64-ubuntu-24.04-20261115",
                "promoted": True,
                "created_at": iso(days=4.5),
                "age_days": 4.5,
                "amphorae": 6,
                "load_balancers": 4,
            },
            {
                **row,
                "id": OLDER,
                "name": "amphora-haproxy-x86_64-ubuntu-24.04-20261030",
                "promoted": False,
                "created_at": iso(days=21),
                "age_days": 21.0,
                "amphorae": 3,
                "load_balancers": 2,
            },
        ],
        "failover": [
            {
                "id": f"5d41402a-bc4b-4a76-b971-00000000000{number}",
                "name": name,
                "project_id": "p",
                "vip_address": "203.0.113.7",
                "provisioning_status": "ACTIVE",
                "operating_status": "ONLINE",
                "images": [OLDER],
                "oldest_image_age_days": 21.0,
                "failover": "free",
                "remark": "no outage: one of its two amphorae serves while the other is replaced",
                "command": "openstack loadbalancer failover x",
            }
            for number, name in enumerate(("web-frontend", "database"))
        ],
        "warnings": [],
        **changed,
    }


def status(promoted: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    return {
        "target": "default",
        "cloud": "production (region RegionOne)",
        "project_id": "0f1e2d",
        "tag": "octavia-amphora",
        "promoted": promoted,
        "octavia_takes": promoted["id"] if promoted else None,
        "images": 2 if promoted else 0,
        "warnings": [],
        "paused": None,
        "failing": None,
        **changed,
    }


def good() -> Scene:
    older = image(id=OLDER, promoted=False, hidden=True, tags=[])
    return Scene(
        cloud=CloudFacts(
            asked_at=NOW - timedelta(seconds=20),
            status=status(image()),
            images=(image(), older),
            plan=plan(),
            audit=fleet(),
        ),
        local=LocalFacts(
            chronicle=Chronicle(
                epoch="e",
                runs={"published": 3, "unchanged": 120, "failed": 1},
                seconds={"fetch": 41.0, "build": 312.5, "verify": 187.0},
                last_run_at=iso(hours=1),
                last_outcome="unchanged",
                last_success_at=iso(hours=1),
                image_id=IMAGE,
            ),
            reports=(report(), report("published", hours=108), report("failed", hours=130)),
            schedule={
                "next_run": (NOW + timedelta(minutes=25)).isoformat(),
                "trigger": "every 3600 s",
                "running_since": None,
            },
        ),
    )


def never_run() -> Scene:
    scene = good()
    return Scene(
        cloud=replace(
            scene.cloud,
            status=status(),
            images=(),
            plan=plan("build", reasons=["no amphora image of this target is promoted"]),
            audit=fleet(
                octavia={
                    "answers": False,
                    "reason": "Octavia does not answer these credentials",
                    "amphorae": None,
                    "load_balancers": None,
                    "booting": None,
                },
                failover=None,
                images=[],
            ),
        ),
        local=LocalFacts(),
    )


def running() -> Scene:
    scene = good()
    going = Going(
        run_id="20261122T115000Z-d4e5f6", since=NOW - timedelta(minutes=10), doing="build"
    )
    return replace(scene, local=replace(scene.local, going=going))


def failed() -> Scene:
    scene = good()
    return Scene(
        cloud=replace(
            scene.cloud,
            plan=plan("build", reasons=["new source version 20261121 (was 20261115)"]),
        ),
        local=replace(
            scene.local,
            reports=(report("failed", hours=0.5), *scene.local.reports),
            chronicle=replace(
                scene.local.chronicle, last_outcome="failed", failing_since=iso(hours=0.5)
            ),
        ),
    )


def waiting() -> Scene:
    scene = failed()
    failing = {
        "count": 3,
        "code": "verify",
        "message": "the image is not a working amphora: lvs-masquerade.sh: not there",
        "run_id": "20261122T110000Z-a1b2c3",
        "last_at": iso(hours=0.5),
        "retry_at": (NOW + timedelta(minutes=30)).isoformat(timespec="seconds"),
    }
    return Scene(
        cloud=replace(
            scene.cloud,
            status=status(image(), failing=failing),
            plan=plan("wait", reasons=["new source version 20261121 (was 20261115)"]),
        ),
        local=replace(scene.local, reports=(report("waiting", hours=0.1), *scene.local.reports)),
    )


def paused() -> Scene:
    scene = good()
    pause = {
        "reason": "storage maintenance",
        "since": iso(hours=3),
        "by": "ops@controller-1",
        "until": None,
    }
    return replace(
        scene,
        cloud=replace(scene.cloud, status=status(image(), paused=pause), plan=plan("paused")),
    )


def stale() -> Scene:
    scene = good()
    old = image(
        created_at=iso(days=93),
        source_version_name="20260815",
        name="amphora-haproxy-x86_64-ubuntu-24.04-20260815",
    )
    return replace(
        scene,
        cloud=replace(
            scene.cloud,
            status=status(
                old, warnings=["the newest source is 99 days old: is the synchroniser running?"]
            ),
            images=(old,),
        ),
    )


def missing() -> Scene:
    scene = good()
    return replace(
        scene,
        cloud=replace(
            scene.cloud,
            status=status(),
            images=(),
            plan=plan("build", reasons=["no amphora image of this target is promoted"]),
        ),
    )


def unreachable() -> Scene:
    scene = good()
    error = {
        "code": "cloud",
        "message": "cannot log in to production: Keystone cannot be reached",
        "hint": "check that Keystone is up",
    }
    return replace(
        scene, cloud=replace(scene.cloud, asked_at=NOW - timedelta(minutes=12), error=error)
    )


STATES: Mapping[str, Callable[[], Scene]] = {
    "never_run": never_run,
    "running": running,
    "good": good,
    "failed": failed,
    "waiting": waiting,
    "paused": paused,
    "stale": stale,
    "missing": missing,
    "unreachable": unreachable,
}


def hostile() -> Scene:
    """Every text that others can write says the same evil thing."""
    scene = failed()
    plain = ("id", "created_at", "status", "retrofit_verified_at")
    evil = {
        key: HOSTILE if isinstance(value, str) and key not in plain else value
        for key, value in image().items()
    }
    audit = fleet()
    audit["failover"] = [
        {**row, **dict.fromkeys(("name", "remark", "provisioning_status"), HOSTILE)}
        for row in audit["failover"]
    ]
    audit["images"] = [{**row, "name": HOSTILE} for row in audit["images"]]
    error = {"code": "build", "message": HOSTILE, "hint": HOSTILE}
    source = {"id": HOSTILE, "product": HOSTILE, "version": HOSTILE}
    pause = {"reason": HOSTILE, "since": iso(hours=1), "by": HOSTILE, "until": None}
    return Scene(
        cloud=replace(
            scene.cloud,
            status=status(
                evil, warnings=[HOSTILE], cloud=HOSTILE, octavia_takes=HOSTILE, paused=pause
            ),
            images=(evil,),
            plan=plan("build", reasons=[HOSTILE], notes=[HOSTILE]),
            audit=audit,
        ),
        local=replace(
            scene.local,
            going=Going(run_id=HOSTILE, since=NOW, doing=HOSTILE),
            schedule={"next_run": None, "trigger": HOSTILE, "running_since": None},
            reports=(
                report("failed", hours=0.5, error=error, source=source),
                report("published", hours=5, reasons=[HOSTILE], notes=[HOSTILE]),
            ),
        ),
    )


def named(scene: Scene, name: str) -> Scene:
    """The same scene of another target."""
    assert scene.cloud.status is not None
    return replace(scene, cloud=replace(scene.cloud, status={**scene.cloud.status, "target": name}))


def document(scene: Scene, **changed: Any) -> dict[str, Any]:
    """The overview of one target."""
    return overview(
        settings(),
        {"default": scene.cloud},
        {"default": scene.local},
        now=NOW,
        host="controller-1",
        **changed,
    )
