"""Settings of `[publish]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from retrofit.config.section import Section, Word

OWN_PROPERTIES = frozenset(
    {
        "architecture", "amphora_agent_version", "haproxy_version", "kernel_version", "os_distro",
        "os_type", "os_version", "source_product_name", "source_version_name",
        # With these the synchroniser would take the image for its own, and rotate it away.
        "content_id", "source_content_id", "product_name", "version_name", "item_name",
        "checksum", "container_format", "created_at", "disk_format", "file", "id", "locations",
        "min_disk", "min_ram", "name", "os_hash_algo", "os_hash_value", "os_hidden", "owner",
        "protected", "schema", "self", "size", "status", "stores", "tags", "updated_at",
        "virtual_size", "visibility",
    }
)  # fmt: skip
"""Image properties and attributes that are not the operator's to choose by `publish.properties`."""


def _a_free_property(name: str) -> str:
    if name in OWN_PROPERTIES or name.startswith("retrofit_"):
        raise ValueError(f"property {name} is set by retrofit or by Glance")
    return name


Property = Annotated[Word, AfterValidator(_a_free_property)]


class PublishSettings(Section):
    """How amphora images appear in Glance, and how long they stay."""

    tag: Word = Field(
        "octavia-amphora", description="Tag by which Octavia finds the image (`amp_image_tag`)."
    )
    visibility: Literal["private", "shared", "public"] = Field(
        "private", description="Visibility of the images; Octavia sees our project's private ones."
    )
    keep: int = Field(2, ge=1, description="Amphora images to keep, the promoted one included.")
    retire_after: int = Field(
        7 * 24,
        ge=0,
        description="Hours that an image stays after a newer one was created, whatever `keep` says:"
        " amphorae may still run on it.",
    )
    retire_unasked_after: int = Field(
        30 * 24,
        ge=0,
        description="Hours that an image stays after its demotion where Octavia does not tell"
        " whether amphorae still run on it.",
    )
    adopt: bool = Field(
        False,
        description="Demote images of the octavia-diskimage-retrofit charm once ours is promoted.",
    )
    hide: bool = Field(True, description="Hide demoted images from default image lists.")
    properties: dict[Property, str] = Field(
        default_factory=dict, description="Further properties to set on the images."
    )
