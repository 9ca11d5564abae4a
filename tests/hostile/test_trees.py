"""What a hostile image's files lead to is its own tree: nothing of the host is written or read."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrofit.dib.supervise import DROPPED
from retrofit.errors import RetrofitError
from retrofit.verify.mounting import mounted_image
from retrofit.verify.tree import Tree
from tests.component import disks
from tests.component.disks import MIB
from tests.component.elements.element_scripts import ELEMENTS, run
from tests.hostile import disks as hostile
from tests.hostile.command_line import CommandLine
from tests.hostile.disks import ROOT_AT, debugfs
from tests.hostile.protected_directory import assert_untouched

COPY = ELEMENTS / "stock-image/root.d/05-stock-image-copy"
ROOT_SIZE = hostile.SIZE - 13 * MIB
DEPTH = 3000
"""Deeper than Python recurses, and than a path can name."""

LINKS = {
    "etc": ("symlink etc {protected_directory}",),
    "var/log": ("mkdir var", "cd var", "symlink log {protected_directory}"),
    "var/lib/cloud": (
        "mkdir var",
        "mkdir var/lib",
        "cd var/lib",
        "symlink cloud {protected_directory}",
    ),
    "tmp": ("symlink tmp {protected_directory}",),
    "etc/resolv.conf.ORIG": (
        "mkdir etc",
        "cd etc",
        "symlink resolv.conf.ORIG {protected_directory}/file",
    ),
    "boot": ("symlink boot {protected_directory}",),
    "usr/sbin": ("cd usr", "symlink sbin {protected_directory}"),
    "sbin": ("symlink sbin ../../../../../../../../../../../..{protected_directory}",),
    "root/.cache": ("mkdir root", "cd root", "symlink .cache {protected_directory}"),
    "etc/apt": ("mkdir etc", "symlink one {protected_directory}", "cd etc", "symlink apt ../one"),
    "etc/machine-id": ("mkdir etc", "cd etc", "symlink machine-id {protected_directory}/file"),
    "etc/fstab.stock": ("mkdir etc", "cd etc", "symlink fstab.stock {protected_directory}/file"),
    "usr/sbin/policy-rc.d": (
        "mkdir usr/sbin",
        "cd usr/sbin",
        "symlink policy-rc.d {protected_directory}/file",
    ),
}
PASSED_BY = {
    "etc/dib-manifests/dib_environment": ("mkdir etc", "mkdir etc/dib-manifests",
        "cd etc/dib-manifests", "symlink dib_environment {protected_directory}/file"),
    "etc/dib-manifests/a /file": ("mkdir etc", "mkdir etc/dib-manifests", "cd etc/dib-manifests",
        'mkdir "a "', 'cd "a "', "symlink file {protected_directory}/file"),
    "etc/dib-manifests": ("mkdir etc", "cd etc", "symlink dib-manifests {protected_directory}"),
    "usr/share/pkg-map/amphora-agent-distro": ("mkdir usr/share", "mkdir usr/share/pkg-map",
        "cd usr/share/pkg-map", "symlink amphora-agent-distro {protected_directory}/file"),
    "usr/share/svc-map/services": ("mkdir usr/share", "mkdir usr/share/svc-map",
        "cd usr/share/svc-map", "symlink services {protected_directory}/file"),
    "lib/diskimage-builder": (
        "mkdir lib", "cd lib", "symlink diskimage-builder {protected_directory}"),
    "var/lib/stock-archive/ca-bundle.pem": ("mkdir var", "mkdir var/lib",
        "mkdir var/lib/stock-archive", "cd var/lib/stock-archive",
        "symlink ca-bundle.pem {protected_directory}/file"),
    "var/lib/stock-archive": ("mkdir var", "mkdir var/lib", "cd var/lib",
        "symlink stock-archive {protected_directory}"),
    "var/lib/amphora-agent-pypi/uv": ("mkdir var", "mkdir var/lib",
        "mkdir var/lib/amphora-agent-pypi", "cd var/lib/amphora-agent-pypi",
        "symlink uv {protected_directory}/file"),
}  # fmt: skip
"""What a build makes anew, and what of the source has a name in its way."""
OTHERS = {
    "etc/fstab is no file": ("mkdir etc", "cd etc", "mknod fstab p"),
    "etc/machine-id is no file": ("mkdir etc", "cd etc", "mknod machine-id b 7 0"),
    "usr/sbin/policy-rc.d is no file": ("mkdir usr/sbin", "cd usr/sbin", "mknod policy-rc.d b 7 0"),
    "etc is no directory": ("mknod etc p",),
    "etc/resolv.conf is no file": ("mkdir etc", "cd etc", "mknod resolv.conf p"),
    "tmp is a link": ("mkdir var", "symlink tmp var"),
    "srv/disk is a device node": ("mkdir srv", "cd srv", "mknod disk b 8 0"),
    "srv/memory is a device node": ("mkdir srv", "cd srv", "mknod memory c 1 1"),
}


ROOT = f"{ROOT_AT}:{ROOT_SIZE}:ext4:/"
# Of `disks.noble`, as large as it is here.
ROOT_AND_BOOT = f"{28 * MIB}:{35 * MIB}:ext4:/ {12 * MIB}:{16 * MIB}:ext4:/boot"


def copied(
    source: Path, target: Path, *, filesystems: str = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Copy a disk's root as a build does, in a mount namespace that takes all mounts with it."""
    target.mkdir()
    return run(
        *("unshare", "--mount", str(COPY)),
        TARGET_ROOT=str(target),
        DIB_STOCK_DISK=str(source),
        DIB_STOCK_FILESYSTEMS=filesystems,
        **environment,
    )


@pytest.mark.parametrize("path", LINKS)
def test_a_link_out_of_the_tree_is_refused_by_its_name(
    source: Path, protected_directory: Path, tmp_path: Path, path: str
) -> None:
    debugfs(
        source,
        *(request.format(protected_directory=protected_directory) for request in LINKS[path]),
    )
    done = copied(source, tmp_path / "tree")
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith("ERROR: ")]
    assert len(told) == 1
    assert f"/{path.split('/', maxsplit=1)[0]}" in told[0]
    assert "out of its own tree" in told[0]
    assert_untouched(protected_directory)


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_neither_file_nor_directory_is_refused(
    source: Path, tmp_path: Path, what: str
) -> None:
    debugfs(source, *OTHERS[what])
    done = copied(source, tmp_path / "tree")
    assert done.returncode == 1
    assert f"ERROR: the source's /{what}" in done.stdout


@pytest.mark.parametrize("path", PASSED_BY)
def test_what_a_build_makes_anew_is_not_the_source_s(
    source: Path, protected_directory: Path, tmp_path: Path, path: str
) -> None:
    debugfs(
        source,
        *(request.format(protected_directory=protected_directory) for request in PASSED_BY[path]),
    )
    done = copied(source, tmp_path / "tree")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not os.path.lexists(tmp_path / "tree" / path)
    assert_untouched(protected_directory)


def test_setting_up_put_those_there(
    source: Path, protected_directory: Path, tmp_path: Path
) -> None:
    for requests in PASSED_BY.values():
        debugfs(
            source,
            *(request.format(protected_directory=protected_directory) for request in requests),
        )
    with mounted(source, tmp_path / "at") as root:
        # Of two that exclude each other the first is there.
        missing = [path for path in PASSED_BY if not os.path.lexists(root / path)]
    assert missing == []


def test_a_key_of_the_build_s_overwrites_no_file_of_the_host(
    source: Path, protected_directory: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "own.gpg").write_text("key")
    debugfs(source, "mkdir etc", "mkdir etc/apt", "mkdir etc/apt/trusted.gpg.d",
            "cd etc/apt/trusted.gpg.d", f"symlink own.gpg {protected_directory}/file")  # fmt: skip
    done = copied(source, tmp_path / "tree", DIB_ADD_APT_KEYS=str(keys))
    assert done.returncode == 1
    assert "/etc/apt/trusted.gpg.d/own.gpg leads to" in done.stdout


class TestSeparateBoot:
    """What a further filesystem is mounted over has no part in the image."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Path:
        return disks.noble(tmp_path / "noble.img", size=64 * MIB)

    def test_links_beneath_it_lead_nowhere(
        self, disk: Path, protected_directory: Path, tmp_path: Path
    ) -> None:
        debugfs(disk, "mkdir boot", "cd boot", f"symlink config-6.8 {protected_directory}/file",
                f"symlink grub {protected_directory}", at=28 * MIB)  # fmt: skip
        config = tmp_path / "config"
        config.write_text("of BOOT")
        debugfs(disk, f"write {config} config-6.8", "mkdir grub", "cd grub",
                f"write {config} grub.cfg", at=12 * MIB)  # fmt: skip
        done = copied(disk, tmp_path / "tree", filesystems=ROOT_AND_BOOT)
        assert done.returncode == 0, done.stdout + done.stderr
        assert_untouched(protected_directory)
        for name in ("config-6.8", "grub/grub.cfg"):
            found = tmp_path / "tree/boot" / name
            assert not found.is_symlink()
            assert found.read_text() == "of BOOT"

    def test_its_directory_is_no_link(self, disk: Path, tmp_path: Path) -> None:
        debugfs(disk, "mkdir etc", "symlink boot etc", at=28 * MIB)
        done = copied(disk, tmp_path / "tree", filesystems=ROOT_AND_BOOT)
        assert done.returncode == 1
        assert "ERROR: the source's /boot is a link" in done.stdout


def test_an_ordinary_tree_is_copied(source: Path, tmp_path: Path) -> None:
    debugfs(source, "mkdir etc", "symlink sbin usr/sbin", "mkdir usr/sbin", "mkdir dev",
            "mkdir tmp", "cd dev", "mknod console c 5 1", "cd ../tmp", "mkdir left")  # fmt: skip
    done = copied(source, tmp_path / "tree")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "tree/sbin").readlink() == Path("usr/sbin")
    assert stat.S_ISCHR((tmp_path / "tree/dev/console").stat().st_mode)
    assert list((tmp_path / "tree/tmp").iterdir()) == []


@contextmanager
def mounted(source: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    disks.run("mount", "-o", f"loop,offset={ROOT_AT},sizelimit={ROOT_SIZE}", source, at)
    try:
        yield at
    finally:
        disks.run("umount", at)


def make_abyss(root: Path) -> None:
    """Make directories deeper than a path can name."""
    place = os.open(root, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)


def fill_with_traps(source: Path, at: Path) -> None:
    with mounted(source, at) as root:
        make_abyss(root)
        for name in ("two\nlines", "\x1b]0;title\x07", "a b\tc", "-rf", "*", b"\xff\xfe".decode(
            errors="surrogateescape"
        )):  # fmt: skip
            (root / name).write_text("x")
        setuid = root / "shell"
        shutil.copyfile("/bin/true", setuid)
        setuid.chmod(0o6755)
        with (root / "large").open("wb") as file:
            file.truncate(1 << 33)


def test_a_build_of_a_tree_that_leads_out_ends_with_its_path(
    command_line: CommandLine, source: Path, protected_directory: Path
) -> None:
    debugfs(source, "mkdir var", "cd var", f"symlink log {protected_directory}")
    outcome = command_line.build(source)
    assert outcome.code == 5
    assert (
        f"the source's /var/log leads to {protected_directory}, out of its own tree" in outcome.err
    )
    assert_untouched(protected_directory)
    command_line.assert_nothing_left()


def test_programs_of_an_image_get_no_capability_that_a_build_does_not_need(tmp_path: Path) -> None:
    told = tmp_path / "status"
    environment = tmp_path / "environment"
    environment.write_text(f"PATH={os.environ['PATH']}")
    with subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
         sys.executable, "-m", "retrofit.dib.supervise", tmp_path / "lock", "5",
         environment,
         "sh", "-c", f"cat /proc/self/status > {told}"],
        stdin=subprocess.PIPE,
    ) as build:  # fmt: skip
        assert build.wait(60) == 0
    fields = dict(line.split(":\t", 1) for line in told.read_text().splitlines())
    for kind in ("CapBnd", "CapPrm", "CapEff"):
        held = int(fields[kind], 16)
        assert [number for number in DROPPED if held & 1 << number] == []
    assert int(fields["CapEff"], 16) & 1 << 21, "a build mounts"


@pytest.mark.slow
def test_a_build_of_a_tree_full_of_traps_leaves_nothing(
    command_line: CommandLine, source: Path, tmp_path: Path
) -> None:
    command_line.configure("[build]\ntmpfs = false\n")
    fill_with_traps(source, tmp_path / "filled")
    outcome = command_line.build(source)
    # cp(1) comes as far as a path can name.
    assert outcome.code == 5
    assert "05-stock-image-copy" in outcome.err
    assert len(outcome.err) < 32 * 1024, "names of the image must not drown the message"
    command_line.assert_nothing_left()
    assert list((command_line.base / "work/files").iterdir()) == []


class TestLookingInside:
    """Verification mounts what it examines, and reads it."""

    def test_nothing_is_mounted_over_what_the_image_links_to(
        self, tmp_path: Path, protected_directory: Path
    ) -> None:
        disk = disks.noble(tmp_path / "noble.img", size=64 * MIB)
        device = f"{disk}?offset={28 * MIB}"
        disks.run("debugfs", "-w", "-R", f"symlink boot {protected_directory}", device)
        with pytest.raises(RetrofitError, match=r"/boot of .* is not a directory") as refused:  # noqa: SIM117
            with mounted_image(disk, "raw", tmp_path / "work"):
                pytest.fail("it was mounted")
        assert refused.value.exit_code == 6
        assert_untouched(protected_directory)
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(tmp_path) not in mounts

    def test_mounts_give_no_rights(self, source: Path, tmp_path: Path) -> None:
        with mounted_image(source, "raw", tmp_path / "work") as image:
            options = next(
                line.split()[5]
                for line in Path("/proc/self/mountinfo").read_text().splitlines()
                if line.split()[4] == str(image.root)
            )
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.split(","))

    def test_links_are_those_of_the_image(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/shadow").symlink_to("/etc/shadow")
        (tmp_path / "etc/passwd").symlink_to("../../../../../../etc/passwd")
        (tmp_path / "etc/loop").symlink_to("loop")
        tree = Tree(tmp_path)
        for name in ("shadow", "passwd", "loop"):
            assert tree.text(f"/etc/{name}") is None

    def test_a_fifo_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "status")
        tree = Tree(tmp_path)
        assert tree.text("/status") is None
        assert tree.text_whole("/status") is None

    def test_a_file_is_read_up_to_a_length(self, tmp_path: Path) -> None:
        with (tmp_path / "status").open("wb") as file:
            file.truncate(1 << 40)
        tree = Tree(tmp_path)
        assert len(tree.text("/status") or "") == 4 * MIB
        with pytest.raises(OSError, match="longer than any"):
            tree.text_whole("/status")

    def test_a_deep_tree_ends_with_an_error_that_a_check_reports(self, tmp_path: Path) -> None:
        make_abyss(tmp_path)
        with pytest.raises(OSError, match="File name too long"):
            list(Tree(tmp_path).files_below("/"))
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)

    def test_an_image_whose_package_list_is_a_trap_fails_verification(
        self, command_line: CommandLine, source: Path
    ) -> None:
        command_line.configure('[verify]\nlevel = "offline"\n')
        debugfs(source, "mkdir var", "mkdir var/lib", "mkdir var/lib/dpkg", "cd var/lib/dpkg",
                "mknod empty p", f"write {source.with_suffix('.none')} status")  # fmt: skip
        with mounted(source, command_line.base / "at") as root, (root / "var/lib/dpkg/status").open(
            "wb"
        ) as status:  # fmt: skip
            status.truncate(1 << 33)
        outcome = command_line.give("verify", source)
        assert outcome.code == 6, outcome.err
        assert "Traceback" not in outcome.err
        command_line.assert_nothing_left()


def test_setting_up_is_of_use(source: Path, tmp_path: Path) -> None:
    """The traps above are there: a test of a trap that is none would prove nothing."""
    fill_with_traps(source, tmp_path / "filled")
    with mounted(source, tmp_path / "again") as root:
        names = os.listdir(root)  # noqa: PTH208  (names that no Path shows)
        assert {"two\nlines", "-rf", "shell", "d"} <= set(names)
        assert (root / "shell").stat().st_mode & stat.S_ISUID
