"""The bill of materials: what is installed, as a list for people and as CycloneDX for tools."""

from __future__ import annotations

from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot5
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from retrofit.verify.offline.rules import Subject

FILE = "sbom.cdx.json"
"""Name of the bill of materials among a run's logs."""


def bill(subject: Subject) -> Bom:
    """List every Debian package, and every Python distribution of the agent's environment."""
    system = subject.os
    distribution = system.id if system is not None else "debian"
    version = system.version_id if system is not None else ""
    bom = Bom()
    whole = Component(
        name="amphora", type=ComponentType.OPERATING_SYSTEM, version=str(system or "")
    )
    bom.metadata.component = whole
    for package in subject.packages.values():
        qualifiers = {"arch": package.architecture, "distro": f"{distribution}-{version}"}
        bom.components.add(
            Component(
                name=package.name,
                version=package.version,
                type=ComponentType.LIBRARY,
                purl=PackageURL(
                    "deb", distribution, package.name, package.version, qualifiers=qualifiers
                ),
                bom_ref=f"deb:{package.name}",
            )
        )
    if subject.build.agent == "pypi":
        for found in subject.distributions.values():
            name = canonicalize_name(found.name)
            bom.components.add(
                Component(
                    name=found.name,
                    version=found.version,
                    type=ComponentType.LIBRARY,
                    purl=PackageURL("pypi", None, name, found.version),
                    bom_ref=f"pypi:{name}",
                )
            )
    bom.register_dependency(whole, bom.components)
    return bom


def write(subject: Subject, log_dir: Path) -> None:
    """Write `sbom.cdx.json` and `manifest.txt` into the log directory."""
    text = JsonV1Dot5(bill(subject)).output_as_string(indent=2)
    (log_dir / FILE).write_text(text + "\n")
    lines = [f"{package.name} {package.version}" for package in subject.packages.values()]
    if subject.build.agent == "pypi":
        lines += [f"{found.name}=={found.version}" for found in subject.distributions.values()]
    (log_dir / "manifest.txt").write_text("\n".join(sorted(lines)) + "\n")
