"""Tags and properties that Glance keeps as they are written, and that mean the same everywhere.

A tag is part of an address (`/v2/images/ID/tags/TAG`): fronts, proxies and Glance itself cut it at
`?` and `#`, decode `%`, split it at `/` and resolve `..`. Databases of Glance compare names without
regard to case and to blanks at the end, and may hold no character above U+FFFF.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

LONGEST_NAME = 255
"""Characters of a tag or of a property's name (glance/api/v2/images.py)."""
LARGEST_VALUE = 65535
"""Bytes of a property's value: a TEXT column of MySQL."""

OWN_PROPERTIES = frozenset(
    {
        "architecture", "amphora_agent_version", "haproxy_version", "kernel_version", "os_distro",
        "os_type", "os_version", "source_product_name", "source_version_name",
        # With these the synchroniser would treat the image as its own, and delete it.
        "content_id", "source_content_id", "product_name", "version_name", "item_name",
        "simplestreams_metadata",
        # Marks of Nova's snapshots and of volumes' images: such a record is not ours.
        "base_image_ref", "bdm_v2", "block_device_mapping", "boot_roles", "image_location",
        "image_state", "image_type", "instance_uuid", "mappings", "owner_id", "owner_project_name",
        "owner_user_name", "root_device_name", "user_id",
        # With these Nova would start another kernel, or demand a signature or a key.
        "kernel_id", "ramdisk_id", "cinder_encryption_key_id", "img_signature",
        "img_signature_certificate_uuid", "img_signature_hash_method", "img_signature_key_type",
        "signature_verified",
        # A source of this type is passed over.
        "hypervisor_type",
        "checksum", "container_format", "created_at", "direct_url", "disk_format", "file", "id",
        "links", "locations", "min_disk", "min_ram", "name", "os_hash_algo", "os_hash_value",
        "os_hidden", "owner", "protected", "schema", "self", "size", "status", "stores", "tags",
        "updated_at", "virtual_size", "visibility",
    }
)  # fmt: skip
"""Image properties and attributes that `publish.properties` may not set."""
OWN_PREFIXES = ("retrofit_", "os_glance_")
"""Of names that are ours, and that Glance refuses to everybody."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
_TAG = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")
CUT = {"#": "ends an address", "?": "ends a path", "/": "separates parts of a path",
       "%": "begins an encoded character", "\\": "is a separator to some fronts"}  # fmt: skip


def a_tag(tag: str) -> str:
    """Return a tag that Glance keeps and that an address carries. Raises ValueError."""
    if not tag:
        raise ValueError("a tag has at least one character")
    if len(tag) > LONGEST_NAME:
        raise ValueError(f"has {len(tag)} characters, Glance takes {LONGEST_NAME}")
    if tag in {".", ".."}:
        raise ValueError(f"{tag!r} means another place in an address")
    for character in tag:
        if character in CUT:
            raise ValueError(f"has {character!r}, which {CUT[character]}")
        if not _TAG.fullmatch(character):
            raise ValueError(
                f"has {_named(character)}; a tag has letters, digits and -._~!$&'()*+,;=:@ of ASCII"
            )
    return tag


def _a_free_property(name: str) -> str:
    if len(name) > LONGEST_NAME:
        raise ValueError(f"the name has {len(name)} characters, Glance takes {LONGEST_NAME}")
    # Without regard to case, as databases of Glance compare names.
    if name.lower() in OWN_PROPERTIES or name.lower().startswith(OWN_PREFIXES):
        raise ValueError(
            f"property {name} is set by retrofit, Glance or Nova, or decides whose an image is"
        )
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a property: letters, digits and _.:- of ASCII")
    return name


def _a_value(value: str) -> str:
    if len(value.encode(errors="replace")) > LARGEST_VALUE:
        raise ValueError(f"is longer than {LARGEST_VALUE} bytes")
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cs"} or ord(character) > 0xFFFF:
            raise ValueError(f"has {_named(character)}, which not every database of Glance keeps")
    if value != value.strip():
        raise ValueError("begins or ends with a blank, which not every database of Glance keeps")
    return value


def _named(character: str) -> str:
    if character.isspace() and character != " ":
        return f"a blank (U+{ord(character):04X})"
    if character == " ":
        return "a blank"
    return f"U+{ord(character):04X} {unicodedata.name(character, 'a control character')}"


Tag = Annotated[str, AfterValidator(a_tag)]
Property = Annotated[str, AfterValidator(_a_free_property)]
Value = Annotated[str, AfterValidator(_a_value)]
