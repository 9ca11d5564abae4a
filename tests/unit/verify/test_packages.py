"""What is installed is read from the image's own records."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from retrofit.verify import packages, sbom
from retrofit.verify.tree import Tree
from tests.unit import amphora_tree as made


def test_the_bill_names_packages_and_the_agents_distributions(tmp_path: Path) -> None:
    made.make(tmp_path / "image")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sbom.write(made.subject(tmp_path / "image"), tmp_path)
    bill = json.loads((tmp_path / "sbom.cdx.json").read_text())
    named = {component["purl"] for component in bill["components"]}
    assert "pkg:pypi/octavia@14.0.0" in named
    assert "pkg:deb/ubuntu/haproxy@2.8.5-1ubuntu3.3?arch=amd64&distro=ubuntu-24.04" in named
    assert "octavia==14.0.0" in (tmp_path / "manifest.txt").read_text().splitlines()


def test_half_installed_packages_do_not_count(tmp_path: Path) -> None:
    made.write(
        tmp_path,
        "/var/lib/dpkg/status",
        "Package: a\nStatus: install ok half-configured\nVersion: 1\n\n"
        "Package: b\nStatus: hold ok installed\nVersion: 2:1.0-3\nDescription: x\n y: z\n",
    )
    found = packages.debian_packages(Tree(tmp_path))
    assert list(found) == ["b"]
    assert found["b"].upstream_version == "1.0"


def test_a_native_package_has_its_whole_version_upstream(tmp_path: Path) -> None:
    made.write(
        tmp_path, "/var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1.9\n"
    )
    assert packages.debian_packages(Tree(tmp_path))["a"].upstream_version == "1.9"


def test_old_metadata_files_are_read_as_well(tmp_path: Path) -> None:
    site = made.SYSTEM_SITE
    made.write(tmp_path, f"{site}/octavia-11.0.egg-info/PKG-INFO", "Name: octavia\nVersion: 11.0\n")
    made.write(tmp_path, f"{site}/six-1.16.egg-info", "Name: six\nVersion: 1.16\n")
    found = packages.python_distributions(Tree(tmp_path), site)
    assert {name: each.version for name, each in found.items()} == {
        "octavia": "11.0",
        "six": "1.16",
    }
