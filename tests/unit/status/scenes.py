"""Targets in every state, as the facts of a status document that is made for one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from retrofit.config import PathSettings, Settings, Target
from retrofit.fleet.document import AuditDocument
from retrofit.runs.history import History
from retrofit.runs.report_document import ErrorDocument, ReportDocument, SourceDocument
from retrofit.runs.rollover import LeftDocument, RolloverDocument
from retrofit.runs.timetable import TimetableEntry
from retrofit.status import (
    CloudFacts,
    LocalFacts,
    StatusDocument,
    TargetInCloud,
    status_document,
)
from retrofit.status.models import (
    FailingDocument,
    ImageDocument,
    PauseDocument,
    PlanDocument,
    RunningDocument,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
IMAGE = "7f3c2a10-98d1-4b7e-a7a5-3d0f5f2f9a11"
OLDER = "1b9e77c4-02aa-4f52-8f0e-6f1f0a4b2c33"
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)> \"'&{{7*7}}\u202eabc\x07"
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that a status document is made of."""

    cloud: CloudFacts
    local: LocalFacts


def ago(**since: float) -> datetime:
    return NOW - timedelta(**since)


def iso(**since: float) -> str:
    return ago(**since).isoformat(timespec="seconds")


def settings(tmp_path: Path | None = None, *names: str) -> Settings:
    root = tmp_path or Path("/nowhere")
    paths = PathSettings(
        state=root / "state", cache=root / "cache", work=root / "work", logs=root / "logs"
    )
    return Settings(targets=tuple(Target(name=name) for name in names or ("default",)), paths=paths)


def image(**changed: Any) -> ImageDocument:
    """An amphora image as `retrofit list` shows it."""
    record = {
        "id": IMAGE,
        "name": "amphora-haproxy-x86_64-ubuntu-24.04-20261115",
        "target": "default",
        "made_by": "retrofit",
        "status": "active",
        "promoted": True,
        "state": "promoted",
        "rejected": False,
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
        "retrofit_verification": "full-kvm",
        "retrofit_promoted_at": iso(days=4.5),
        "retrofit_demoted_at": None,
        "retrofit_rejected_at": None,
        "haproxy_version": "2.8.5-1ubuntu3.4",
        "amphora_agent_version": "14.0.1",
        "kernel_version": "6.8.0-90-generic",
        **changed,
    }
    return ImageDocument.model_validate(record)


def report(outcome: str = "unchanged", *, hours: float = 1, **changed: Any) -> ReportDocument:
    """A run as its report tells of it, begun `hours` ago."""
    begun = NOW - timedelta(hours=hours)
    steps = [("plan", 0.8), ("clean-up", 0.2)]
    if outcome in {"published", "failed"}:
        steps += [("preflight", 0.4), ("fetch", 41.0), ("build", 312.5), ("verify", 187.0)]
    if outcome == "published":
        steps += [("upload", 24.0), ("promote", 0.6), ("demote", 0.4), ("retire", 0.3)]
    record = {
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
        if outcome in {"failed", "backoff"}
        else None,
        "log_dir": "/var/log/retrofit/x",
        **changed,
    }
    return ReportDocument.model_validate(record)


def plan(action: str = "none", **changed: Any) -> PlanDocument:
    record = {
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
    return PlanDocument.model_validate(record)


def fleet(**changed: Any) -> AuditDocument:
    """An audit in which some load balancers still run on the image before."""
    row = {"target": "default", "owner": "own", "status": "active", "hidden": False}
    record = {
        "target": "default",
        "cloud": "production (region RegionOne)",
        "project_id": "0f1e2d",
        "tag": "octavia-amphora",
        "promoted": IMAGE,
        "octavia_image": {
            "image_id": IMAGE,
            "name": "amphora-haproxy-x86_64-ubuntu-24.04-20261115",
            "why": "the only one",
            "passed_over": [],
        },
        "other_targets": [],
        "without_load_balancer": [],
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
    return AuditDocument.model_validate(record)


def in_cloud(*images: ImageDocument, **changed: Any) -> TargetInCloud:
    """A target with these images, of which the first is promoted."""
    promoted = next((each for each in images if each.promoted), None)
    known: dict[str, Any] = {
        "cloud": "production (region RegionOne)",
        "project_id": "0f1e2d",
        "promoted": promoted,
        "octavia_image": promoted.id if promoted else None,
        "images": images,
        "warnings": (),
        "paused": None,
        "failing": None,
        **changed,
    }
    return TargetInCloud(**known)


def freshness(**changed: Any) -> dict[str, Any]:
    """What the archive has: a fix of today, by default, and nothing else."""
    return {
        "image": IMAGE,
        "checked_at": ago(hours=1),
        "newest_index": ago(hours=3),
        "security": [fix("haproxy", since=ago(hours=1))],
        "other": [],
        "held": [],
        "agent": [],
        "warnings": [],
        "unknown": None,
        **changed,
    }


def fix(source: str, *, since: Any) -> dict[str, Any]:
    return {
        "package": source,
        "source": source,
        "installed": "1",
        "candidate": "2",
        "cves": [],
        "security": True,
        "since": since,
        "not_brought": False,
    }


def older() -> ImageDocument:
    return image(id=OLDER, promoted=False, state="demoted", hidden=True, tags=[])


def ok() -> Scene:
    return Scene(
        cloud=CloudFacts(
            asked_at=NOW - timedelta(seconds=20),
            target=in_cloud(image(), older()),
            plan=plan(freshness=freshness()),
            audit=fleet(),
        ),
        local=LocalFacts(
            history=History(
                sequence_id="e",
                run_counts={"published": 3, "unchanged": 120, "failed": 1},
                step_seconds={"fetch": 41.0, "build": 312.5, "verify": 187.0},
                last_run_at=ago(hours=1),
                last_outcome="unchanged",
                last_success_at=ago(hours=1),
                image_id=IMAGE,
            ),
            reports=(report(), report("published", hours=108), report("failed", hours=130)),
            schedule=TimetableEntry(next_run=NOW + timedelta(minutes=25), trigger="every hour"),
            rollover=rollover(),
        ),
    )


def never_run() -> Scene:
    scene = ok()
    return Scene(
        cloud=replace(
            scene.cloud,
            target=in_cloud(),
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


def rollover(state: str = "postponed", **changed: Any) -> RolloverDocument:
    """A rollover in the middle, as this machine saw it."""
    return RolloverDocument(
        **{
            "state": state,
            "at": ago(minutes=4),
            "image_id": IMAGE,
            "load_balancers": 12,
            "moved": 7,
            "due": 3,
            "left": (LeftDocument(id="lb-9", name="legacy", reason="of provider ovn"),),
            "left_count": 2,
            "reason": "outside rollover.windows",
            "until": NOW + timedelta(hours=13),
            **changed,
        }
    )


def running() -> Scene:
    scene = ok()
    running = RunningDocument(
        run_id="20261122T115000Z-d4e5f6", since=ago(minutes=10), doing="build"
    )
    return replace(scene, local=replace(scene.local, running=running))


def failed() -> Scene:
    scene = ok()
    return Scene(
        cloud=replace(
            scene.cloud,
            plan=plan("build", reasons=["new source version 20261121 (was 20261115)"]),
        ),
        local=replace(
            scene.local,
            reports=(report("failed", hours=0.5), *scene.local.reports),
            history=scene.local.history.model_copy(
                update={"last_outcome": "failed", "failing_since": ago(hours=0.5)}
            ),
        ),
    )


def backoff() -> Scene:
    scene = failed()
    failing = FailingDocument(
        inputs="com.ubuntu.cloud:server:24.04:amd64 20261121 sha512:01 sha256:0123",
        count=3,
        code="verify",
        message="the image is not a working amphora: lvs-masquerade.sh: not there",
        run_id="20261122T110000Z-a1b2c3",
        last_at=ago(hours=0.5),
        retry_at=NOW + timedelta(minutes=30),
    )
    return Scene(
        cloud=replace(
            scene.cloud,
            target=in_cloud(image(), older(), failing=failing),
            plan=plan("wait", reasons=["new source version 20261121 (was 20261115)"]),
        ),
        local=replace(scene.local, reports=(report("backoff", hours=0.1), *scene.local.reports)),
    )


def paused() -> Scene:
    scene = ok()
    pause = PauseDocument(
        reason="storage maintenance", since=ago(hours=3), by="ops@controller-1", until=None
    )
    return replace(
        scene,
        cloud=replace(
            scene.cloud, target=in_cloud(image(), older(), paused=pause), plan=plan("paused")
        ),
    )


def stale() -> Scene:
    scene = ok()
    old = image(
        created_at=iso(days=93),
        source_version_name="20260815",
        name="amphora-haproxy-x86_64-ubuntu-24.04-20260815",
    )
    return replace(
        scene,
        cloud=replace(
            scene.cloud,
            target=in_cloud(
                old,
                warnings=("the newest source is 99 days old: check that the synchroniser runs",),
            ),
        ),
    )


def no_image() -> Scene:
    scene = ok()
    return replace(
        scene,
        cloud=replace(
            scene.cloud,
            target=in_cloud(),
            plan=plan("build", reasons=["no amphora image of this target is promoted"]),
        ),
    )


def cloud_unreachable() -> Scene:
    scene = ok()
    error = ErrorDocument(
        code="cloud",
        message="cannot log in to production: Keystone cannot be reached",
        hint="check that Keystone is up",
    )
    return replace(
        scene, cloud=replace(scene.cloud, asked_at=NOW - timedelta(minutes=12), error=error)
    )


STATES: Mapping[str, Callable[[], Scene]] = {
    "never_run": never_run,
    "running": running,
    "ok": ok,
    "failed": failed,
    "backoff": backoff,
    "paused": paused,
    "stale": stale,
    "no_image": no_image,
    "cloud_unreachable": cloud_unreachable,
}


def hostile() -> Scene:
    """Every text that others can write says the same evil thing."""
    scene = failed()
    plain = ("id", "created_at", "status", "state", "retrofit_verified_at")
    evil = {
        key: HOSTILE if isinstance(value, str) and key not in plain else value
        for key, value in image().as_dict().items()
    }
    audit = fleet().as_dict()
    audit["failover"] = [
        {**row, **dict.fromkeys(("name", "remark", "provisioning_status"), HOSTILE)}
        for row in audit["failover"]
    ]
    audit["images"] = [{**row, "name": HOSTILE} for row in audit["images"]]
    error = ErrorDocument(code="build", message=HOSTILE, hint=HOSTILE)
    source = SourceDocument(id=HOSTILE, product=HOSTILE, version=HOSTILE)
    pause = PauseDocument(reason=HOSTILE, since=ago(hours=1), by=HOSTILE, until=None)
    return Scene(
        cloud=replace(
            scene.cloud,
            target=in_cloud(
                ImageDocument.model_validate(evil),
                warnings=(HOSTILE,),
                cloud=HOSTILE,
                octavia_image=HOSTILE,
                paused=pause,
            ),
            plan=plan("build", reasons=[HOSTILE], notes=[HOSTILE]),
            audit=AuditDocument.model_validate(audit),
        ),
        local=replace(
            scene.local,
            running=RunningDocument(run_id=HOSTILE, since=NOW, doing=HOSTILE),
            schedule=TimetableEntry(trigger=HOSTILE),
            reports=(
                report("failed", hours=0.5, error=error, source=source),
                report("published", hours=5, reasons=[HOSTILE], notes=[HOSTILE]),
            ),
        ),
    )


def document(scene: Scene, **changed: Any) -> StatusDocument:
    """The status document of one target."""
    return status_document(
        settings(),
        {"default": scene.cloud},
        {"default": scene.local},
        now=NOW,
        host="controller-1",
        **changed,
    )
