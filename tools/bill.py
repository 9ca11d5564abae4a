"""The product's bill of materials: itself, and what requirements/run.txt pins."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot5
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from retrofit import __version__


def document(checkout: Path, *, at: int) -> str:
    """Return the bill as CycloneDX 1.5 JSON; `at` is its time in seconds since 1970.

    The same checkout and time give the same bytes.
    """
    text = JsonV1Dot5(bill(checkout, at=at)).output_as_string(indent=2)
    return text + "\n"


def bill(checkout: Path, *, at: int) -> Bom:
    """List what an installation of the product consists of."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    product = Component(
        name=project["name"],
        version=__version__,
        type=ComponentType.APPLICATION,
        description=project["description"],
        licenses=[LicenseExpression(project["license"])],
        purl=PackageURL("pypi", None, project["name"], __version__),
        bom_ref=project["name"],
    )
    pinned = list(_pinned(checkout))
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{product.purl}@{at}"),
        components=pinned,
    )
    bom.metadata.component = product
    bom.metadata.timestamp = datetime.fromtimestamp(at, UTC)
    direct = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    bom.register_dependency(product, [each for each in pinned if each.name in direct])
    return bom


def _pinned(checkout: Path) -> Iterator[Component]:
    """Read requirements/run.txt: each entry has a version, perhaps a marker, and hashes.

    One project may have several entries, by markers.
    """
    text = (checkout / "requirements" / "run.txt").read_text().replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        digests = re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
        pin = Requirement(line.partition("--hash")[0].strip())
        name = canonicalize_name(pin.name)
        (version,) = (each.version for each in pin.specifier)
        purl = PackageURL("pypi", None, name, version)
        # One hash for each file that may be installed; which one it is depends on the machine.
        files = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(str(purl)),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests],
        )
        marker = [Property(name="marker", value=str(pin.marker))] if pin.marker else []
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=purl,
            bom_ref=str(purl),
            external_references=[files],
            properties=marker,
        )
