"""Settings of `[publish]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrofit.config.glance_names import Property, Tag, Value
from retrofit.config.numbers import CENTURY_DAYS, CENTURY_HOURS, Flag, Period, Within
from retrofit.config.section import Section


class PublishSettings(Section):
    """How amphora images appear in Glance, and how long they are kept."""

    tag: Tag = Field(
        "octavia-amphora",
        description="Tag by which Octavia finds the image (`amp_image_tag` in octavia.conf).",
    )
    former_tags: tuple[Tag, ...] = Field(
        (),
        description="Tags that `tag` had before. Images with one of them stay ours, and promoted"
        " images carry these tags too, until Octavia is configured with `tag`: see"
        " docs/explanation/identity.md.",
    )
    visibility: Literal["private", "shared", "public"] = Field(
        "private",
        description="Visibility of the images in Glance. `private` is enough for an Octavia of"
        " the same project.",
    )
    keep: Annotated[int, Within(1, 10_000)] = Field(
        2, description="Number of amphora images to keep, including the promoted one."
    )
    retire_after: Annotated[Period, Within(0, CENTURY_HOURS, never=True)] = Field(
        7 * 24,
        description="Hours to keep an image after its demotion, whatever `keep` is: amphorae"
        " may still start or run from it.",
    )
    retire_after_unknown: Annotated[Period, Within(0, CENTURY_HOURS, never=True)] = Field(
        30 * 24,
        description="Hours to keep an image after its demotion where Octavia cannot be queried"
        " for the amphorae that run on it.",
    )
    replace_charm_images: Flag = Field(
        False,
        description="Demote the images of the octavia-diskimage-retrofit charm once one of ours"
        " is promoted.",
    )
    stale_after: Annotated[Period, Within(1, CENTURY_DAYS, never=True)] = Field(
        60, description="Age in days from which the promoted image is reported as stale."
    )
    reread: Annotated[Period, Within(0, CENTURY_HOURS, never=True)] = Field(
        7 * 24,
        description="Hours after which all bytes of the promoted image are read again, to see that"
        " the store still has them; `never` leaves it at the first and last block, which every run"
        " reads. An image is always read whole before it is promoted.",
    )
    hide: Flag = Field(True, description="Hide demoted images from default image lists.")
    properties: dict[Property, Value] = Field(
        default_factory=dict, description="Further properties to set on the images."
    )

    @model_validator(mode="after")
    def _properties_differ(self) -> Self:
        """Refuse names that differ in case alone: to a database of Glance they are one."""
        names = [name.lower() for name in self.properties]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"properties: {', '.join(twice)}: names differ in case alone")
        return self
