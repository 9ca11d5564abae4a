"""The elements: what diskimage-builder skips in silence, and the scripts that decide things."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from diskimage_builder import paths as dib_paths

ELEMENTS = Path(__file__).parents[2] / "elements"
OWN = sorted(path for path in ELEMENTS.iterdir() if path.is_dir())
PHASES = ("root.d", "extra-data.d", "pre-install.d", "install.d", "post-install.d", "post-root.d",
          "block-device.d", "pre-finalise.d", "finalise.d", "cleanup.d")  # fmt: skip
HOOKS = sorted(hook for phase in PHASES for hook in ELEMENTS.glob(f"*/{phase}/*"))
TOOLS = Path(sys.executable).parent

# Set by disk-image-create for every script; they are nobody's settings.
GIVEN = {"DIB_DEBUG_TRACE"}


def _shell_scripts() -> list[Path]:
    found = [
        path
        for path in ELEMENTS.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and re.match(rb"#!/bin/(ba)?sh$", path.read_bytes().partition(b"\n")[0])
    ]
    return sorted(found)


def _run(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{TOOLS}:{os.environ['PATH']}"
    return subprocess.run(
        argv,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ELEMENTS.parent,
        env={"PATH": path, "LC_ALL": "C.UTF-8", **environment},
    )


def _required(command: str) -> str:
    found = shutil.which(command, path=f"{TOOLS}:{os.environ['PATH']}")
    assert found, f"{command} is needed by this test"
    return found


# -- form


def test_dib_lint_is_content() -> None:
    result = _run(_required("dib-lint"), ELEMENTS_DIR=str(ELEMENTS), LIB_DIR=str(ELEMENTS))

    assert result.returncode == 0, result.stdout
    assert "PASS" in result.stdout


def test_shellcheck_is_content() -> None:
    scripts = _shell_scripts()
    result = _run(_required("shellcheck"), *scripts)
    sourced = _run(_required("shellcheck"), "-s", "bash", *ELEMENTS.glob("*/environment.d/*"))

    assert len(scripts) > 20
    assert result.returncode == 0, result.stdout
    assert sourced.returncode == 0, sourced.stdout


def test_bashate_is_content() -> None:
    result = _run(_required("bashate"), "-i", "E006", *_shell_scripts())

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: str(hook.relative_to(ELEMENTS)))
def test_diskimage_builder_runs_every_script(hook: Path) -> None:
    assert hook.is_file()
    assert re.fullmatch(r"[0-9]{2}-[0-9A-Za-z_-]+", hook.name)
    assert hook.stat().st_mode & 0o111 == 0o111
    assert hook.read_text().startswith("#!/bin/bash\n")


def test_directories_of_scripts_are_those_that_diskimage_builder_knows() -> None:
    found = {path.name for path in ELEMENTS.glob("*/*.d")}

    assert found <= {*PHASES, "environment.d"}


def test_no_two_elements_have_a_script_of_one_name() -> None:
    theirs = Path(dib_paths.get_path("elements"))
    ours = Counter((hook.parent.name, hook.name) for hook in HOOKS)

    assert [name for name, count in ours.items() if count > 1] == []
    assert [name for name in ours if list(theirs.glob(f"*/{name[0]}/{name[1]}"))] == []


def test_top_level_files_of_elements_do_not_meet() -> None:
    # Other than these, which diskimage-builder reads per element, they land in one directory.
    declared = {"README.rst", "element-deps", "element-provides", "package-installs.yaml",
                "pkg-map"}  # fmt: skip
    names = Counter(path.name for path in ELEMENTS.glob("*/*") if path.is_file())

    assert [name for name, count in names.items() if count > 1 and name not in declared] == []


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_every_dependency_exists(element: Path) -> None:
    file = element / "element-deps"
    theirs = Path(dib_paths.get_path("elements"))
    names = file.read_text().split() if file.exists() else []

    assert [
        name for name in names if not any((at / name).is_dir() for at in (ELEMENTS, theirs))
    ] == []


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_what_an_element_uses_it_depends_on(element: Path) -> None:
    file = element / "element-deps"
    names = set(file.read_text().split()) if file.exists() else set()

    if (element / "static").is_dir():
        assert "install-static" in names
    if (element / "package-installs.yaml").exists():
        assert names & {"package-installs", "dpkg", "stock-packages"}
    if (element / "pkg-map").exists():
        assert "pkg-map" in names


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_every_variable_that_is_read_is_documented(element: Path) -> None:
    text = "".join(
        path.read_text()
        for path in element.rglob("*")
        if path.is_file() and path.name != "README.rst"
    )
    read = set(re.findall(r"\b(?:DIB_[A-Z0-9_]+|DISTRO_NAME)\b", text)) - GIVEN
    readme = (element / "README.rst").read_text()
    documented = set(re.findall(r"^   \* - ``([A-Z0-9_]+)``$", readme, re.MULTILINE))

    assert readme.startswith(f"{'=' * len(element.name)}\n{element.name}\n")
    assert read - documented == set(), "read, and not documented"
    assert documented - read == set(), "documented, and not read"


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_the_overview_names_every_element(element: Path) -> None:
    assert f"``{element.name}``" in (ELEMENTS / "README.rst").read_text()


def test_the_agent_comes_from_one_place_only() -> None:
    providers = {
        path.parent.name
        for path in ELEMENTS.glob("*/element-provides")
        if "amphora-agent" in path.read_text().split()
    }

    assert providers == {"amphora-agent-distro", "amphora-agent-pypi"}


def test_no_script_asks_for_a_release() -> None:
    releases = re.compile(r"\b(bionic|focal|jammy|noble|resolute|bookworm|trixie)\b")
    asking = [
        str(path.relative_to(ELEMENTS))
        for path in ELEMENTS.rglob("*")
        if path.is_file() and path.suffix != ".rst" and not path.is_symlink()
        and releases.search(re.sub(r"(?m)^\s*(#|\"\"\").*$", "", path.read_text()))
    ]  # fmt: skip

    assert asking == []


def test_package_files_are_readable_data() -> None:
    for file in ELEMENTS.glob("*/package-installs.yaml"):
        assert isinstance(yaml.safe_load(file.read_text()), dict)


# -- apt sources

MIRROR = ELEMENTS / "stock-archive/bin/stock-archive-mirror"

JAMMY = """\
# See http://help.ubuntu.com/community/UpgradeNotes
deb http://archive.ubuntu.com/ubuntu/ jammy main restricted
# deb-src http://archive.ubuntu.com/ubuntu/ jammy main restricted
deb http://archive.ubuntu.com/ubuntu/ jammy-updates main restricted
deb [arch=amd64] http://security.ubuntu.com/ubuntu/ jammy-security main
"""
NOBLE = """\
# Ubuntu sources have moved
Types: deb
URIs: http://archive.ubuntu.com/ubuntu/
Suites: noble noble-updates noble-backports
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb
URIs: http://security.ubuntu.com/ubuntu/
Suites: noble-security
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""
DEBIAN_CLOUD = """\
Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: trixie trixie-updates trixie-backports
Components: main

Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian-security.list
Suites: trixie-security
Components: main
"""


def _mirrored(file: Path, text: str, *, archive: str = "", security: str = "") -> str:
    file.write_text(text)
    result = _run(sys.executable, MIRROR, file, "--archive", archive, "--security", security)
    assert result.returncode == 0, result.stderr
    return file.read_text()


def test_mirrors_replace_one_line_entries(tmp_path: Path) -> None:
    found = _mirrored(
        tmp_path / "sources.list", JAMMY, archive="http://m/ubuntu", security="http://s/ubuntu"
    )

    assert found.splitlines() == [
        "# See http://help.ubuntu.com/community/UpgradeNotes",
        "deb http://m/ubuntu jammy main restricted",
        "# deb-src http://archive.ubuntu.com/ubuntu/ jammy main restricted",
        "deb http://m/ubuntu jammy-updates main restricted",
        "deb [arch=amd64] http://s/ubuntu jammy-security main",
    ]


def test_mirrors_replace_deb822_stanzas(tmp_path: Path) -> None:
    found = _mirrored(
        tmp_path / "ubuntu.sources", NOBLE, archive="http://m/ubuntu", security="http://s/ubuntu"
    )

    expected = NOBLE.replace("http://archive.ubuntu.com/ubuntu/", "http://m/ubuntu")
    assert found == expected.replace("http://security.ubuntu.com/ubuntu/", "http://s/ubuntu")


def test_mirrors_replace_lists_of_mirrors(tmp_path: Path) -> None:
    found = _mirrored(
        tmp_path / "debian.sources", DEBIAN_CLOUD, archive="http://m/d", security="http://m/s"
    )

    assert re.findall(r"^URIs: (.*)$", found, re.MULTILINE) == ["http://m/d", "http://m/s"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("sources.list", JAMMY), ("ubuntu.sources", NOBLE), ("debian.sources", DEBIAN_CLOUD)],
)
def test_a_mirror_that_is_not_given_replaces_nothing(tmp_path: Path, name: str, text: str) -> None:
    security = [line for line in text.splitlines() if "security" in line]
    archive_only = _mirrored(tmp_path / name, text, archive="http://m/archive")

    assert _mirrored(tmp_path / name, text) == text
    assert [line for line in archive_only.splitlines() if "security" in line] == security
    assert "http://m/archive" in archive_only


# -- scripts that change files, run against a made-up tree of them

FAKES = ("systemctl", "apt-get", "install-packages", "add-apt-repository")


def _within(script: Path, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script where /etc and /var are those below `root`, in a mount namespace of its own.

    Commands that would reach further are recorded in `root/commands`, and do nothing.
    """
    hooks = root / "hooks"
    copy = hooks / script.parent.name / script.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(script, copy)
    for file in script.parents[1].iterdir():
        if file.is_file():
            shutil.copy(file, hooks)
    fakes = root / "fakes"
    fakes.mkdir(exist_ok=True)
    for name in FAKES:
        (fakes / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {root}/commands\n')
        (fakes / name).chmod(0o755)
    # awk is found by /etc/alternatives.
    for directory in ("etc/alternatives", "var"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    mounts = (
        f"mount --bind /etc/alternatives {root}/etc/alternatives",
        f"mount --rbind {root}/etc /etc",
        f"mount --bind {root}/var /var",
    )
    bins = ":".join(str(path) for path in ELEMENTS.glob("*/bin"))
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0:
        namespace.append("--map-root-user")
    return _run(
        *namespace,
        *("/bin/sh", "-euc", f"{'; '.join(mounts)}; {copy}"),
        **{"PATH": f"{fakes}:{bins}:{os.environ['PATH']}", **environment},
    )


def _write(root: Path, name: str, text: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


NETWORK = ELEMENTS / "amphora-network/post-install.d/90-amphora-network"
NSSWITCH = "passwd: files systemd\nhosts: files dns\nnetworks: files\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hosts:          files dns", "hosts:          files"),
        ("hosts: files mymachines dns", "hosts: files mymachines"),
        (
            "hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname",
            "hosts: files myhostname",
        ),
        (
            "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns",
            "hosts: mymachines files myhostname",
        ),
    ],
)
def test_nothing_is_resolved(tmp_path: Path, before: str, after: str) -> None:
    file = _write(tmp_path, "etc/nsswitch.conf", f"passwd: files\n{before}\nnetworks: files dns\n")

    result = _within(NETWORK, tmp_path)

    assert result.returncode == 0, result.stderr
    assert file.read_text() == f"passwd: files\n{after}\nnetworks: files dns\n"


def test_no_interface_is_configured_but_lo(tmp_path: Path) -> None:
    _write(tmp_path, "etc/nsswitch.conf", NSSWITCH)
    netplan = _write(tmp_path, "etc/netplan/90-default.yaml", "network: {version: 2}\n")
    networkd = _write(tmp_path, "etc/systemd/network/20-dhcp.network", "[Match]\nName=en*\n")
    part = _write(tmp_path, "etc/network/interfaces.d/50-cloud-init", "auto ens3\n")
    interfaces = _write(
        tmp_path,
        "etc/network/interfaces",
        "# Comment\nauto lo\niface lo inet loopback\n\nallow-hotplug ens3\n"
        "iface ens3 inet dhcp\n    mtu 1400\nsource /etc/network/interfaces.d/*\n",
    )

    result = _within(NETWORK, tmp_path)

    assert result.returncode == 0, result.stderr
    assert not any(file.exists() for file in (netplan, networkd, part))
    assert interfaces.read_text() == (
        "# Comment\nauto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n"
    )


def test_nothing_waits_for_a_network(tmp_path: Path) -> None:
    _write(tmp_path, "etc/nsswitch.conf", NSSWITCH)
    _write(tmp_path, "etc/systemd/system/systemd-networkd-wait-online.service", "[Unit]\n")

    _within(NETWORK, tmp_path)

    asked = (tmp_path / "commands").read_text().splitlines()
    assert "systemctl mask systemd-networkd-wait-online.service" in asked


def test_only_units_that_exist_are_masked(tmp_path: Path) -> None:
    listed = _write(
        tmp_path, "list", "# Comment\n\nhere.timer\nnowhere.service\nold.service\nlast.socket\n"
    )
    _write(tmp_path, "etc/systemd/system/here.timer", "[Timer]\n")
    _write(tmp_path, "etc/systemd/system/last.socket", "[Socket]\n")
    _write(tmp_path, "etc/init.d/old", "#!/bin/sh\n")
    caller = _write(
        tmp_path, "element/post-install.d/50-caller", f"amphora-mask-units < {listed}\n"
    )
    caller.chmod(0o755)

    result = _within(caller, tmp_path)

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "commands").read_text().splitlines() == [
        "systemctl disable here.timer",
        "systemctl mask here.timer",
        "systemctl mask old.service",
        "systemctl disable last.socket",
        "systemctl mask last.socket",
    ]


APPARMOR = ELEMENTS / "amphora-apparmor-rsyslog/post-install.d/30-amphora-apparmor-rsyslog"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "profile rsyslogd /usr/sbin/rsyslogd {",
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected) {",
        ),
        ("/usr/sbin/rsyslogd {", "/usr/sbin/rsyslogd flags=(attach_disconnected) {"),
        (
            "profile rsyslogd /usr/sbin/rsyslogd flags=(complain) {",
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected,complain) {",
        ),
        (
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected) {",
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected) {",
        ),
    ],
)
def test_apparmor_lets_rsyslog_open_the_socket(tmp_path: Path, before: str, after: str) -> None:
    rest = "  /usr/sbin/rsyslogd mr,\n  include if exists <local/usr.sbin.rsyslogd>\n}\n"
    file = _write(tmp_path, "etc/apparmor.d/usr.sbin.rsyslogd", f"{before}\n{rest}")

    result = _within(APPARMOR, tmp_path)

    assert result.returncode == 0, result.stderr
    assert file.read_text() == f"{after}\n{rest}"
    local = (tmp_path / "etc/apparmor.d/local/usr.sbin.rsyslogd").read_text()
    assert re.search(r"/run/rsyslog/octavia/log rwlk,$", local, re.MULTILINE)


def test_apparmor_is_left_alone_where_rsyslog_has_no_profile(tmp_path: Path) -> None:
    result = _within(APPARMOR, tmp_path)

    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "etc/apparmor.d").exists()


UBUNTU_ARCHIVE = ELEMENTS / "stock-archive/pre-install.d/03-stock-archive-ubuntu"


def _on_ubuntu(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (root / "etc/apt/sources.list.d").mkdir(parents=True)
    return _within(UBUNTU_ARCHIVE, root, DISTRO_NAME="ubuntu", DIB_RELEASE="jammy", **environment)


@pytest.mark.parametrize(
    ("pocket", "suite"),
    [
        ("caracal", "jammy-updates/caracal"),
        ("caracal-updates", "jammy-updates/caracal"),
        ("caracal-proposed", "jammy-proposed/caracal"),
    ],
)
def test_a_pocket_of_the_cloud_archive_is_enabled(tmp_path: Path, pocket: str, suite: str) -> None:
    result = _on_ubuntu(tmp_path, DIB_STOCK_CLOUD_ARCHIVE=pocket)

    assert result.returncode == 0, result.stderr
    sources = (tmp_path / "etc/apt/sources.list.d/stock-archive-cloud.sources").read_text()
    assert f"\nSuites: {suite}\n" in sources
    assert "\nURIs: http://ubuntu-cloud.archive.canonical.com/ubuntu\n" in sources
    assert "install-packages ubuntu-cloud-keyring" in (tmp_path / "commands").read_text()


def test_the_cloud_archive_has_a_mirror(tmp_path: Path) -> None:
    _on_ubuntu(
        tmp_path,
        DIB_STOCK_CLOUD_ARCHIVE="epoxy",
        DIB_STOCK_CLOUD_ARCHIVE_MIRROR="http://mirror.example.com/uca",
    )

    sources = (tmp_path / "etc/apt/sources.list.d/stock-archive-cloud.sources").read_text()
    assert "\nURIs: http://mirror.example.com/uca\n" in sources


def test_every_ppa_is_enabled(tmp_path: Path) -> None:
    _on_ubuntu(tmp_path, DIB_STOCK_PPAS="ppa:one/a ppa:two/b")

    assert (tmp_path / "commands").read_text().splitlines()[-2:] == [
        "add-apt-repository --yes --no-update ppa:one/a",
        "add-apt-repository --yes --no-update ppa:two/b",
    ]


def test_the_cloud_archive_is_refused_where_it_has_nothing(tmp_path: Path) -> None:
    result = _within(
        UBUNTU_ARCHIVE, tmp_path, DISTRO_NAME="debian", DIB_RELEASE="trixie",
        DIB_STOCK_CLOUD_ARCHIVE="caracal",
    )  # fmt: skip

    assert result.returncode == 1
    assert "ERROR: the Ubuntu Cloud Archive and PPAs have nothing for debian" in result.stdout


SOURCES = ELEMENTS / "stock-archive/pre-install.d/02-stock-archive-sources"
RESTORE = ELEMENTS / "stock-archive/finalise.d/80-stock-archive-restore"


def test_the_image_gets_its_own_sources_back(tmp_path: Path) -> None:
    own = _write(tmp_path, "etc/apt/sources.list", JAMMY)
    other = _write(tmp_path, "etc/apt/sources.list.d/vendor.list", "deb http://v/ jammy main\n")
    (tmp_path / "etc/apt/apt.conf.d").mkdir()
    build = _write(tmp_path, "var/lib/stock-archive/build.list", "deb http://build/ jammy main\n")
    _write(tmp_path, "var/lib/stock-archive/ca-bundle.pem", "certificates\n")

    during = _within(SOURCES, tmp_path)
    seen = {
        str(file.relative_to(tmp_path)): file.read_text()
        for file in (tmp_path / "etc/apt").rglob("*")
        if file.is_file()
    }
    after = _within(RESTORE, tmp_path)

    assert (during.returncode, after.returncode) == (0, 0), during.stderr + after.stderr
    assert seen == {
        "etc/apt/sources.list.d/stock-archive.list": "deb http://build/ jammy main\n",
        "etc/apt/apt.conf.d/99stock-archive": (
            'Acquire::https::CAInfo "/var/lib/stock-archive/ca-bundle.pem";\n'
        ),
    }
    assert own.read_text() == JAMMY
    assert other.read_text() == "deb http://v/ jammy main\n"
    assert list((tmp_path / "etc/apt/sources.list.d").iterdir()) == [other]
    assert list((tmp_path / "etc/apt/apt.conf.d").iterdir()) == []
    assert not build.parent.exists()
