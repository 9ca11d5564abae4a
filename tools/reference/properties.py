"""Properties of amphora images in Glance."""

from __future__ import annotations

from retrofit.publish.evidence import PROPERTIES
from retrofit.publish.properties import AT_CREATION, LATER
from tools.reference.markdown import table

INTRODUCTION = """\
# Image properties

Amphora images are named `amphora-haproxy-ARCHITECTURE-DISTRIBUTION-RELEASE-VERSION`, with the
release and the version of the source. `min_disk` is the smallest disk that the image fits into.
`publish.properties` adds properties of your own. Times are ISO 8601 with an offset.

An image is ours when its owner is our project and it names itself, our installation and our target:
[What is ours](../explanation/identity.md). `source_product_name` and
`source_version_name` are also written by the octavia-diskimage-retrofit charm.

Source images with the property `retrofit_stock` were published by `source.publish_stock` of 0.1.
`retrofit list` shows them; nothing changes or deletes them.
"""
COMPANION = """\
## Evidence

Beside each amphora image lies a hidden record in format `raw`, which is no image: a tar.xz of its
packages, their sources and keys, by which any machine can ask the archive what is newer. It is
never tagged, and goes with its image.
"""
HEAD = ("Property", "Value")


def body() -> str:
    """Return the page."""
    return "\n".join(
        [
            INTRODUCTION,
            "## From the creation of the record\n",
            table(HEAD, [(f"`{name}`", text) for name, text in AT_CREATION.items()]),
            "## Added later\n",
            table(HEAD, [(f"`{name}`", text) for name, text in LATER.items()]),
            COMPANION,
            table(HEAD, [(f"`{name}`", text) for name, text in PROPERTIES.items()]),
        ]
    )
