"""For each `build.upgrade`, the elements upgrade what the check counts, no more and no less."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from diskimage_builder import paths

from retrofit.archive.answers import taken
from retrofit.archive.evidence import STATUS, Evidence
from retrofit.archive.offer import Offer, UpdateKind
from retrofit.build.recipe import recipe_for
from retrofit.config import BuildSettings, FreshnessSettings, Target
from retrofit.plan.freshness import Freshness, reasons
from tests.archive.packages import Package, status_of
from tests.archive.small_archive import KEYRING, SmallArchive
from tests.component.archive.conftest import Checks, kinds
from tests.component.elements.element_scripts import ELEMENTS, INSIDE, within, write_file
from tests.unit.images import amphora

INSTALLED = (
    Package(name="haproxy", version="1.0"),
    Package(name="held-by-source", version="1.0"),
    Package(name="linux-base", version="1.0", architecture="all"),
    Package(name="linux-image-virtual", version="1.0", depends="linux-image-1"),
    Package(name="linux-image-1", version="1.0"),
    Package(name="grub-pc", version="1.0"),
    Package(name="shim-signed", version="1.0"),
)
NEWER = (
    *(dataclasses.replace(each, version="1.1") for each in INSTALLED[:3]),
    Package(name="linux-image-virtual", version="1.1", depends="linux-image-2"),
    Package(name="linux-image-2", version="1.1"),
    *(dataclasses.replace(each, version="1.1") for each in INSTALLED[5:]),
)
BOOT = {"grub-pc", "shim-signed"}
KERNEL = {"linux-image-virtual"}
BUILT = {
    "packages": {"haproxy", "linux-base"},
    "all": {"haproxy", "linux-base", *KERNEL},
    "none": set[str](),
}
HELD = {
    "packages": {"held-by-source", *KERNEL, *BOOT},
    "all": {"held-by-source", *BOOT},
    "none": {"held-by-source", *KERNEL, *BOOT},
}


@pytest.fixture
def tree(tmp_path: Path, archive: SmallArchive) -> Path:
    """A chroot as far as apt and dpkg look at it, where apt-get only simulates an upgrade."""
    archive.add("noble", *INSTALLED)
    root = tmp_path / "tree"
    write_file(root, STATUS, status_of(*INSTALLED, held=("held-by-source",)).decode())
    for name in ("available", "arch", "diversions", "statoverride"):
        write_file(root, f"var/lib/dpkg/{name}", "amd64\n" if name == "arch" else "")
    for name in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / name).mkdir()
    for name in ("lib/apt/lists/partial", "cache/apt/archives/partial", "log/apt"):
        (root / "var" / name).mkdir(parents=True)
    write_file(root, "etc/apt/keyring.gpg", "")
    (root / "etc/apt/keyring.gpg").write_bytes(archive.keyring)
    sources = archive.sources().decode().replace(f"/{KEYRING}", "/etc/apt/keyring.gpg")
    write_file(root, "etc/apt/sources.list.d/ubuntu.sources", sources)
    write_file(root, "etc/apt/apt.conf", 'APT::Sandbox::User "root";\n')
    (root / "fakes").mkdir()
    shutil.copy(Path(paths.get_path("elements"), "dpkg/bin/install-packages"), root / "fakes")
    apt = (
        "#!/bin/sh -e\n/usr/bin/apt-get --quiet update > /dev/null\n"
        f'exec /usr/bin/apt-get --simulate "$@" > {INSIDE}/simulated\n'
    )
    write_file(root, "fakes/apt-get", apt).chmod(0o755)
    return root


def build(tree: Path, build: BuildSettings) -> set[str]:
    """Return the installed packages that the elements upgrade in a build."""
    environment = {name: value for name, value in recipe_for(build).environment.items() if value}
    for script in ("stock-image/pre-install.d/05-stock-image-hold",
                   "stock-packages/install.d/00-stock-packages-upgrade"):  # fmt: skip
        done = within(ELEMENTS / script, tree, **environment)
        assert done.returncode == 0, done.stderr
    simulated = tree / "simulated"
    return set(taken(simulated.read_text())) if simulated.exists() else set()


def checked(tree: Path, archive: SmallArchive, check: Checks) -> tuple[Evidence, Offer]:
    """Return what the build left behind, with the packages that it began with, and the answer."""
    held = (tree / "var/lib/stock-image/held-by-build").read_text().split()
    status = status_of(*INSTALLED, held=("held-by-source",))
    evidence = archive.evidence(files={STATUS: status}, held=held)
    return evidence, check(evidence)


def decided(offer: Offer, settings: BuildSettings) -> tuple[str, ...]:
    image = amphora(5, tagged=True)
    rules = FreshnessSettings(build_for="any", at_most_every=0, gather=0)
    target = Target(build=settings, freshness=rules)
    now = datetime.now(UTC)
    seen = {update.key: now for update in offer.updates}
    return reasons(Freshness(image_id=image.id, offer=offer, first_seen=seen), target, image, now)


@pytest.mark.root
@pytest.mark.parametrize("suite", ["noble-updates", "noble-security"])
@pytest.mark.parametrize("upgrade", ["packages", "all", "none"])
def test_a_build_upgrades_what_the_check_counts(
    tree: Path, archive: SmallArchive, check: Checks, upgrade: str, suite: str
) -> None:
    archive.add(suite, *NEWER)
    settings = BuildSettings.model_validate({"upgrade": upgrade})
    assert build(tree, settings) == BUILT[upgrade]
    _, offer = checked(tree, archive, check)
    of_kind = kinds(offer)
    assert {name for name, kind in of_kind.items() if kind is UpdateKind.HELD} == HELD[upgrade]
    # Where nothing is upgraded, what could be is shown all the same, and is no reason.
    counted = of_kind.keys() - HELD[upgrade]
    assert counted == (BUILT[upgrade] or BUILT["packages"])
    assert bool(decided(offer, settings)) is (upgrade != "none")


@pytest.mark.root
@pytest.mark.parametrize(("upgrade", "builds"), [("packages", 0), ("all", 1), ("none", 0)])
def test_a_kernel_alone_is_a_reason_where_all_is_upgraded(
    tree: Path, archive: SmallArchive, check: Checks, upgrade: str, builds: int
) -> None:
    archive.add("noble-security", *NEWER[3:])
    settings = BuildSettings.model_validate({"upgrade": upgrade})
    assert build(tree, settings) == (KERNEL if builds else set())
    _, offer = checked(tree, archive, check)
    assert len(decided(offer, settings)) == builds
    if builds:
        assert decided(offer, settings) == ("1 security update: linux-image-virtual 1.0 -> 1.1",)


@pytest.mark.root
def test_after_a_build_of_all_nothing_is_left_but_what_it_held(
    tree: Path, archive: SmallArchive, check: Checks
) -> None:
    archive.add("noble-security", *NEWER)
    settings = BuildSettings(upgrade="all")
    names = build(tree, settings)
    after = (
        *(each for each in INSTALLED if each.name not in names),
        *(each for each in NEWER if each.name in {*names, "linux-image-2"}),
    )
    evidence, _ = checked(tree, archive, check)
    left = archive.evidence(
        files={STATUS: status_of(*after, held=("held-by-source",))}, held=sorted(evidence.held)
    )
    offer = check(left)
    assert set(kinds(offer)) == HELD["all"]
    assert decided(offer, settings) == ()
