"""The audit of a target as a JSON document: which images amphorae run on, and what to fail over."""

from __future__ import annotations

from pydantic import Field

from retrofit.documents import Count, Days, Document, Text, Time


class PassedOverDocument(Document):
    """An image with the tag that Octavia does not select, and why."""

    image_id: Text
    reason: Text


class SelectionDocument(Document):
    """The image that Octavia selects for its next amphora, and why."""

    image_id: Text | None
    name: Text | None
    why: Text
    passed_over: tuple[PassedOverDocument, ...]


class OctaviaDocument(Document):
    """What Octavia answers about its amphorae; numbers are null where it does not answer."""

    answers: bool
    reason: Text | None = Field(description="Why it does not answer.")
    amphorae: Count | None
    load_balancers: Count | None
    booting: Count | None = Field(description="Amphorae whose image Octavia does not know yet.")
    release: Text | None = Field(
        None, description="Release of the control plane, or an interval, and how it is known."
    )


class AuditedImageDocument(Document):
    """An image of the target, one with its tag, or one that amphorae run on."""

    id: Text
    name: Text | None
    target: Text | None
    remark: Text | None = Field(None, description="Why retrofit leaves an image alone.")
    owner: Text | None
    status: Text
    hidden: bool | None
    promoted: bool
    created_at: Time | None
    age_days: Days | None
    amphorae: Count | None
    load_balancers: Count | None
    security_fixes: Count | None = Field(
        None,
        description="Security fixes that it lacks; null where that is not known, and for images"
        " that no amphora runs on.",
    )


class OtherTargetDocument(Document):
    """What runs on the images of another target."""

    target: Text
    amphorae: Count
    load_balancers: Count


class FailoverDocument(Document):
    """A load balancer that runs on another image than the promoted one."""

    id: Text
    name: Text
    project_id: Text
    vip_address: Text | None
    provisioning_status: Text
    operating_status: Text
    images: tuple[Text, ...]
    oldest_image_age_days: Days | None
    failover: Text = Field(description="Whether a failover is free, an outage, or refused.")
    remark: Text
    breaks: tuple[Text, ...] = Field((), description="Its kinds that the promoted image refuses.")
    command: Text


class BreakDocument(Document):
    """A load balancer that the promoted image breaks, at its next change or failover."""

    id: Text
    name: Text
    project_id: Text
    kinds: tuple[Text, ...]
    certain: bool = Field(
        description="False where another release that Octavia may have avoids it."
    )
    why: Text


class UnattachedDocument(Document):
    """An amphora without a load balancer; `command` deletes it, where Octavia allows that."""

    id: Text
    status: Text
    image_id: Text | None
    created_at: Time
    command: Text | None


class AuditDocument(Document):
    """Which images the amphorae of a target run on; parts of Octavia are null without answer."""

    target: Text
    cloud: Text
    project_id: Text
    tag: Text
    promoted: Text | None = Field(description="Id of the promoted image.")
    octavia_image: SelectionDocument
    octavia: OctaviaDocument
    images: tuple[AuditedImageDocument, ...] = Field(description="Newest first.")
    other_targets: tuple[OtherTargetDocument, ...] | None
    failover: tuple[FailoverDocument, ...] | None = Field(
        description="Load balancers to fail over, in this order."
    )
    breaks: tuple[BreakDocument, ...] | None = Field(
        None, description="Load balancers that do not work on the promoted image."
    )
    without_load_balancer: tuple[UnattachedDocument, ...] | None
    warnings: tuple[Text, ...]

    @property
    def outdated_amphorae(self) -> int:
        """Count the amphorae on other images than the promoted one."""
        return sum(image.amphorae or 0 for image in self.images if not image.promoted)
