"""A target in the cloud: its images, which one Octavia selects, and what keeps runs back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.model import Image
from retrofit.observe.target import SOURCE_OF_0_1
from retrofit.plan import Inventory, Ownership, image_state, is_usable, promoted_image
from retrofit.plan.authorship import DEMOTED_BY, PROMOTED_BY, REJECTED_BY, authorship
from retrofit.plan.identity import Basis
from retrofit.plan.image_state import DEMOTED_AT, PROMOTED_AT, REJECTED_STATES, rejected_at
from retrofit.runs.failures import last_failure
from retrofit.runs.pauses import pause_of
from retrofit.status.facts import TargetInCloud
from retrofit.status.models import (
    AuthorDocument,
    FailedBuildDocument,
    FailingDocument,
    ImageDocument,
    PauseDocument,
)
from retrofit.times import days_between


def target_in_cloud(
    target: Target,
    settings: Settings,
    glance: Glance,
    inventory: Inventory,
    *,
    warnings: Iterable[str],
) -> TargetInCloud:
    """Describe a target from what was read of Glance. Raises CloudError."""
    promoted = promoted_image(inventory, target)
    selected = glance.octavia_image(target.publish.tag)
    pause = pause_of(inventory, target, settings.paths.state)
    return TargetInCloud(
        cloud=glance.where,
        project_id=glance.project_id,
        promoted=None if promoted is None else image_document(promoted, inventory, target),
        octavia_image=None if selected is None else selected.id,
        images=tuple(image_document(image, inventory, target) for image in inventory.ours(target)),
        warnings=tuple(warnings),
        paused=None if pause is None else PauseDocument.of(pause),
        failing=_failing(target, settings),
    )


def _failing(target: Target, settings: Settings) -> FailingDocument | None:
    """Return how builds fail at present, and when the next one is tried."""
    failed = last_failure(settings.paths.state, target.name)
    if failed is None:
        return None
    known = FailedBuildDocument.of(failed)
    return FailingDocument(**dict(known), retry_at=failed.retry_at(target.build))


def image_document(image: Image, inventory: Inventory, target: Target) -> ImageDocument:
    """Describe an amphora image to an operator."""
    promoted = promoted_image(inventory, target)
    owned = inventory.whose(image, target)
    ours = owned.ours
    state = image_state(image, target) if ours else None
    made_by, remark = _origin(image, owned)
    return ImageDocument(
        id=image.id,
        name=image.name,
        target=target.name,
        made_by=made_by,
        remark=remark,
        status=image.status,
        promoted=promoted is not None and promoted.id == image.id,
        state=state,
        rejected=state in REJECTED_STATES,
        usable=ours and is_usable(image),
        hidden=image.hidden,
        protected=image.protected,
        created_at=image.created_at,
        age_days=days_between(image.created_at, inventory.now),
        size=image.size,
        min_disk=image.min_disk,
        tags=tuple(sorted(image.tags)),
        kept_by_tags=tuple(inventory.identity(target).foreign_tags(image)) if ours else (),
        retrofit_rejected_at=rejected_at(image),
        source_product_name=image.property("source_product_name"),
        source_version_name=image.property("source_version_name"),
        retrofit_recipe=image.property("retrofit_recipe"),
        retrofit_run_id=image.property("retrofit_run_id"),
        retrofit_verified_at=image.property("retrofit_verified_at"),
        retrofit_verification=image.property("retrofit_verification"),
        retrofit_promoted_at=image.property("retrofit_promoted_at"),
        retrofit_demoted_at=image.property("retrofit_demoted_at"),
        promoted_by=_author(image, PROMOTED_BY, image.time(PROMOTED_AT)),
        demoted_by=_author(image, DEMOTED_BY, image.time(DEMOTED_AT)),
        rejected_by=_author(image, REJECTED_BY, rejected_at(image)),
        haproxy_version=image.property("haproxy_version"),
        amphora_agent_version=image.property("amphora_agent_version"),
        kernel_version=image.property("kernel_version"),
    )


def _author(image: Image, name: str, when: datetime | None) -> AuthorDocument | None:
    return AuthorDocument.of(authorship(image, name, when))


def _origin(image: Image, owned: Ownership) -> tuple[str, str | None]:
    """Return what made an image, and why retrofit leaves it alone where it does."""
    if owned.ours:
        return "retrofit", None
    if image.property(SOURCE_OF_0_1) is not None:
        return "retrofit 0.1.0", (
            "source image published by retrofit 0.1.0 (source.publish_stock); retrofit no longer"
            " manages it"
        )
    if owned.basis is not Basis.UNRELATED:
        return _MADE_BY.get(owned.basis, "retrofit"), f"{owned.reason}: it is left alone"
    return "octavia-diskimage-retrofit charm", None


_MADE_BY = {Basis.COPY: "unknown", Basis.OTHER_PROJECT: "unknown", Basis.SNAPSHOT: "Nova"}
"""What made an image that looks like ours and is not; others are of retrofit."""
