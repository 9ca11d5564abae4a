"""The container image: built from nothing but local parts, and a whole retrofit inside it."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.answers import answer
from tests.devcloud.mirror import Mirror
from tests.devcloud.places import CACHE, CHECKOUT
from tests.e2e import leftovers, package_access
from tests.e2e.operations_page import block_with
from tests.e2e.podman import Podman, podman
from tests.e2e.real_builds import SERVICE_SETTINGS

pytestmark = pytest.mark.slow

BASE = "localhost/debian-of-this-machine"
IMAGE = "localhost/retrofit"
BUILD_CA = "/run/build-ca.pem"
STOP_SECONDS = 60.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """A podman that has the image, built as the Containerfile's head says."""
    directory = tmp_path_factory.mktemp("podman")
    with podman(directory / "storage") as made:
        tar = package_access.debian_root([], kind="container-base", sources=False)
        made.must("import", tar, BASE)
        secrets = _secrets(directory)
        given = [
            word for name, path in secrets.items() for word in ("--secret", f"id={name},src={path}")
        ]
        made.must(
            "build", "--pull=never", "--build-arg", f"BASE={BASE}", "--tag", IMAGE, *given, CHECKOUT
        )
        yield made


def _secrets(directory: Path) -> dict[str, Path]:
    """What the build needs to reach this machine's archives, as files."""
    bundle = package_access.ca_bundle()
    contents = {
        "apt_sources": package_access.apt_sources(),
        "apt_conf": package_access.apt_options(),
        "pip_conf": package_access.pip_configuration(BUILD_CA if bundle else None),
    }
    paths = {name: directory / name for name in contents}
    for name, path in paths.items():
        path.write_text(contents[name])
    return paths | ({"ca": bundle} if bundle else {})


@pytest.fixture
def site(tmp_path: Path, devcloud: Any, clean_glance: None) -> Path:
    """Directories to give to a container, configured for the development cloud."""
    for name in ("etc", "openstack", "state", "logs"):
        (tmp_path / name).mkdir()
    settings = SERVICE_SETTINGS
    bundle = package_access.ca_bundle()
    if bundle is not None:
        (tmp_path / "etc" / "ca.pem").write_bytes(bundle.read_bytes())
        settings += '[build]\nca_bundle = "/etc/retrofit/ca.pem"\n'
    (tmp_path / "etc" / "retrofit.toml").write_text(settings)
    (tmp_path / "openstack" / "clouds.yaml").write_bytes(devcloud.clouds_yaml.read_bytes())
    return tmp_path


def documented(site: Path, *command: str, without: str = "$^") -> list[str]:
    """The command of docs/operations.md, with the site's volumes, but for what `without` matches.

    It is searched for in each "--option value", and in "cap NAME" for each capability.
    """
    words = shlex.split(block_with("podman run"))
    assert [*words[:2], words[-1]] == ["podman", "run", "retrofit"]
    told: list[str] = []
    for option, value in _pairs(words[2:-1]):
        if re.search(without, f"{option} {value}"):
            continue
        told.append(option)
        if option == "--cap-add":
            kept = [each for each in value.split(",") if not re.search(without, f"cap {each}")]
            told.append(",".join(kept))
        elif option == "--volume":
            told.append(_here(site, value))
        elif value:
            told.append(value)
    return ["run", *told, IMAGE, *command]


def _here(site: Path, volume: str) -> str:
    places = {
        "/etc/retrofit": site / "etc",
        "/etc/openstack": site / "openstack",
        "retrofit-state": site / "state",
        "retrofit-cache": CACHE / "builds",
        "retrofit-logs": site / "logs",
    }
    place, _, rest = volume.partition(":")
    return f"{places.get(place, place)}:{rest}"


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    """Options with their values; an option that is followed by another has none."""
    for index, word in enumerate(words):
        if word.startswith("--"):
            after = words[index + 1] if index + 1 < len(words) else "--"
            yield word, "" if after.startswith("--") else after


ONCE = "^--(detach|name|restart)"


def test_image_has_the_programs_and_nothing_of_how_it_was_built(engine: Podman) -> None:
    said = engine.must("run", "--rm", IMAGE, "retrofit", "--version")
    assert said.startswith("retrofit, version")
    assert "valid" in engine.must("run", "--rm", IMAGE, "retrofit", "config", "check")
    assert "install" in engine.must("run", "--rm", IMAGE, "retrofit-scheduler", "--help")
    left = engine.must(
        "run", "--rm", IMAGE, "sh", "-c",
        f"ls -d /etc/pip.conf {BUILD_CA} /etc/apt/apt.conf.d/99build"
        " /etc/apt/sources.list.d/* /run/secrets/* /build 2>/dev/null; true",
    )  # fmt: skip
    assert left == ""


def test_unprivileged_container_says_what_it_lacks(engine: Podman) -> None:
    build = ["build", "--source", "/usr/bin/qemu-img", "--output", "/var/lib/retrofit/image"]
    said = engine.run("run", "--rm", IMAGE, "retrofit", *build)
    assert said.returncode == 5, said.stderr
    assert "cannot mount filesystems here" in said.stderr
    assert "a container must be privileged" in said.stderr


def test_whole_retrofit_with_no_more_privileges_than_the_page_gives(
    engine: Podman,
    site: Path,
    devcloud: Any,
    stock_image: Callable[[str], Path],
) -> None:
    mirror = Mirror(root=site / "mirror")
    mirror.publish(stock_image("noble"), series="noble", serial="20260911")
    devcloud.sync(mirror)
    # Looking inside alone takes less than booting does, as the page says.
    without = rf"{ONCE}|10:200|10:232|cap NET_"
    argv = documented(site, "retrofit", "run-once", "-o", "json", without=without)
    done = engine.run(argv[0], "--rm", *argv[1:])
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    report = answer(done.stdout)
    assert (report["outcome"], report["verification"]["passed"]) == ("published", True)
    glance = devcloud.glance(devcloud.cloud)
    tagged = list(glance.images.list(filters={"tag": ["octavia-amphora"]}))
    assert [image.id for image in tagged] == [report["image_id"]]
    assert leftovers.loop_devices(site) == leftovers.loop_devices(Path("/var/lib/retrofit")) == []
    assert not any((site / "state" / "work" / "default").iterdir())


def test_no_disk_of_the_host_can_be_opened(engine: Podman, site: Path) -> None:
    kinds = "8,252,253,254,259"  # majors of SCSI, virtio and NVMe disks
    said = subprocess.run(
        ["lsblk", "--nodeps", "--noheadings", "--output", "PATH", "--include", kinds],
        capture_output=True,
        text=True,
        check=True,
    )
    disk = said.stdout.split()[0]
    argv = documented(site, "head", "--bytes=1", disk, without=ONCE)
    done = engine.run(argv[0], "--rm", *argv[1:])
    assert "Operation not permitted" in done.stderr
    argv = documented(site, "test", "-w", "/dev/loop-control", without=ONCE)
    engine.must(argv[0], "--rm", *argv[1:])


def test_worker_reads_its_configuration_again_and_stops_when_told(
    engine: Podman, site: Path
) -> None:
    engine.must(*documented(site))
    try:
        _until_said(engine, "worker started")
        engine.must("kill", "--signal", "HUP", "retrofit")
        _until_said(engine, "configuration read again")
        engine.must("stop", "retrofit")
        assert engine.must("inspect", "--format", "{{.State.ExitCode}}", "retrofit") == "0"
    finally:
        engine.run("rm", "--force", "--time", "0", "retrofit")


def _until_said(engine: Podman, text: str) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        done = engine.run("logs", "retrofit")
        if text in done.stdout + done.stderr:
            return
        assert time.monotonic() < deadline, done.stderr[-2000:]
        time.sleep(0.5)
