"""Software that the agent drives: HAProxy, keepalived, LVS, the kernel, and their files."""

from __future__ import annotations

import re

from retrofit.model import version_key
from retrofit.verify import units
from retrofit.verify.access import user_of, why_not_run
from retrofit.verify.checks import CheckFailedError
from retrofit.verify.offline.agent import certificate_store, texts_of
from retrofit.verify.offline.rules import Subject, rule
from retrofit.verify.tree import Tree

OLDEST_HAPROXY = (2, 0)
"""The first that has the Prometheus exporter and ALPN as Octavia configures them."""

COMMANDS = (
    "keepalived",
    "ipvsadm",
    "cryptsetup",
    "ip",
    "nft",
    "sysctl",
    "rsyslogd",
    "logrotate",
    "cloud-init",
)
STOCK_UNITS = ("haproxy.service", "keepalived.service")
USER_GROUP_FILE = "/var/lib/octavia/haproxy-default-user-group.conf"
PING_SCRIPT = "/var/lib/octavia/ping-wrapper.sh"
HAPROXY_USER, DEFAULT_GROUP = "nobody", "nogroup"
"""Of Octavia's own HAProxy template; the group may be named by USER_GROUP_FILE."""
SCRIPTS = (
    PING_SCRIPT,
    "/usr/local/bin/lvs-masquerade.sh",
    "/usr/local/bin/udp-masquerade.sh",
)
INTERFACE_FILE = "octavia/amphorae/backends/utils/interface_file.py"
DIRECTORIES = ("/etc/octavia", "/etc/octavia/certs", "/var/lib/octavia", "/var/lib/haproxy")
MODULES = ("ip_vs", "nf_conntrack", "nf_tables", "veth")
ENCRYPTED_STORE_MODULES = ("brd", "dm_crypt")

# Octavia's elements/haproxy-octavia/post-install.d/20-haproxy-tune-kernel. Without a value, any
# tuning will do; with one, load balancers do not work otherwise.
SYSCTL_KEYS: dict[str, str | None] = {
    "net.ipv4.ip_nonlocal_bind": "1",
    "net.ipv6.ip_nonlocal_bind": "1",
    "net.core.somaxconn": None,
    "net.core.netdev_max_backlog": None,
    "net.core.rmem_max": None,
    "net.core.wmem_max": None,
    "net.ipv4.tcp_max_syn_backlog": None,
    "net.ipv4.tcp_max_tw_buckets": None,
    "net.ipv4.tcp_max_orphans": None,
    "net.ipv4.tcp_keepalive_time": None,
    "net.ipv4.tcp_tw_reuse": None,
    "net.ipv4.tcp_synack_retries": None,
    "net.ipv4.tcp_fin_timeout": None,
    "net.ipv4.tcp_mtu_probing": None,
    "net.ipv4.tcp_rmem": None,
    "net.ipv4.tcp_wmem": None,
    "net.ipv4.ip_local_port_range": None,
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait": None,
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": None,
    "fs.file-max": None,
    "fs.nr_open": None,
}
SYSCTL_DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d",
                      "/usr/lib/sysctl.d", "/lib/sysctl.d")  # fmt: skip


@rule("haproxy-installed")
def haproxy_installed(subject: Subject) -> str:
    """Look for HAProxy at the path in the agent's configuration."""
    if not subject.tree.is_executable("/usr/sbin/haproxy"):
        raise CheckFailedError("/usr/sbin/haproxy is not an executable file")
    return "/usr/sbin/haproxy"


@rule("haproxy-version")
def haproxy_version(subject: Subject) -> str:
    """Compare HAProxy's version with the oldest that Octavia's templates work with."""
    package = subject.packages.get("haproxy")
    if package is None:
        raise CheckFailedError("the package haproxy is not installed")
    version = package.upstream_version
    if version_key(version)[:2] < OLDEST_HAPROXY:
        raise CheckFailedError(f"{version} is older than {'.'.join(map(str, OLDEST_HAPROXY))}")
    return version


@rule("stock-services-disabled")
def stock_services_disabled(subject: Subject) -> str:
    """Make sure that no HAProxy or keepalived but Octavia's own starts."""
    enabled = [name for name in STOCK_UNITS if units.is_enabled(subject.tree, name)]
    if enabled:
        raise CheckFailedError(f"enabled: {', '.join(enabled)}")
    return ", ".join(STOCK_UNITS)


@rule("tools-installed")
def tools_installed(subject: Subject) -> str:
    """Look for the other programs that the agent calls."""
    missing = [name for name in COMMANDS if subject.tree.which(name) is None]
    if missing:
        raise CheckFailedError(f"not in PATH: {', '.join(missing)}")
    return ", ".join(COMMANDS)


@rule("haproxy-user-group")
def haproxy_user_group(subject: Subject) -> str:
    """Look for the group under which HAProxy runs, which differs between distributions."""
    text = subject.tree.text(USER_GROUP_FILE)
    if text is None:
        raise CheckFailedError(f"{USER_GROUP_FILE} is missing")
    group = global_group(text)
    if group is None:
        raise CheckFailedError(f"{USER_GROUP_FILE} names no group in a section `global`")
    groups = {line.partition(":")[0] for line in (subject.tree.text("/etc/group") or "").split()}
    if group not in groups:
        raise CheckFailedError(f"the group {group} does not exist")
    return f"group {group}"


def global_group(text: str) -> str | None:
    """Return the group of a HAProxy configuration: outside of `global`, `group` is refused."""
    section = ""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words and not line[0].isspace():
            section = words[0]
        elif section == "global" and len(words) == 2 and words[0] == "group":
            return words[1]
    return None


@rule("agent-scripts")
def agent_scripts(subject: Subject) -> str:
    """Look for the scripts that the agent and HAProxy call by path."""
    missing = [path for path in SCRIPTS if not subject.tree.is_executable(path)]
    missing += [command for command in _called(subject) if not _is_there(subject.tree, command)]
    if missing:
        raise CheckFailedError(f"not an executable file: {', '.join(missing)}")
    _require_haproxy_may_ping(subject.tree)
    return ", ".join(SCRIPTS)


def _require_haproxy_may_ping(tree: Tree) -> None:
    """Ask as HAProxy will: it runs the script as its own user, everything else is root's."""
    group = global_group(tree.text(USER_GROUP_FILE) or "") or DEFAULT_GROUP
    user = user_of(tree, HAPROXY_USER, group=group)
    if user is None:
        raise CheckFailedError(f"there is no user {HAPROXY_USER}, which HAProxy runs as")
    reason = why_not_run(tree, PING_SCRIPT, user)
    if reason is not None:
        raise CheckFailedError(f"{PING_SCRIPT}: {reason}")


def _called(subject: Subject) -> list[str]:
    """Return the masquerading commands in the agent's own code: Debian's agent has another name."""
    found: set[str] = set()
    for directory in subject.agent_python:
        text = subject.tree.text(f"{directory}/{INTERFACE_FILE}") or ""
        # First into words: a pattern that may begin anywhere is tried everywhere.
        found.update(word for word in re.split(r"[^\w/.-]+", text) if "lvs-masquerade" in word)
    return sorted(found)


def _is_there(tree: Tree, command: str) -> bool:
    return tree.is_executable(command) if command.startswith("/") else bool(tree.which(command))


@rule("agent-directories")
def agent_directories(subject: Subject) -> str:
    """Look for the directories that the agent writes to."""
    missing = [path for path in DIRECTORIES if not subject.tree.is_directory(path)]
    if missing:
        raise CheckFailedError(f"not a directory: {', '.join(missing)}")
    return ", ".join(DIRECTORIES)


@rule("kernel-modules")
def kernel_modules(subject: Subject) -> str:
    """Look for the modules that load balancing needs, for the kernel that will boot."""
    tree = subject.tree
    kernel = newest_kernel(tree)
    if kernel is None:
        raise CheckFailedError("no kernel in /boot")
    wanted = list(MODULES)
    store = certificate_store(tree)
    if store is not None and _is_encrypted(tree, store):
        wanted += ENCRYPTED_STORE_MODULES
    available = modules_of(tree, kernel)
    missing = [name for name in wanted if name not in available]
    if missing:
        raise CheckFailedError(f"{kernel} has no {', '.join(missing)}")
    return f"{kernel}: {', '.join(wanted)}"


def _is_encrypted(tree: Tree, store: units.Unit) -> bool:
    if store.name.endswith(".mount"):
        return False
    commands = store.values("Service", "ExecStart")
    return any(
        "cryptsetup" in text for text in (*commands, *texts_of(tree, " ".join(commands).split()))
    )


def newest_kernel(tree: Tree) -> str | None:
    """Return the release of the kernel that GRUB boots: the newest."""
    releases = [path.partition("vmlinuz-")[2] for path in tree.glob("/boot", "vmlinuz-*")]
    return max(releases, key=version_key, default=None)


def modules_of(tree: Tree, kernel: str) -> frozenset[str]:
    """Return the names of a kernel's modules: those built in, and those whose file is there."""
    base = f"/lib/modules/{kernel}"
    found = {
        _module_name(line) for line in (tree.text(f"{base}/modules.builtin") or "").splitlines()
    }
    for line in (tree.text_whole(f"{base}/modules.dep") or "").splitlines():
        path = line.partition(":")[0]
        if path and tree.is_file(f"{base}/{path}"):
            found.add(_module_name(path))
    return frozenset(found)


def _module_name(path: str) -> str:
    name = path.rpartition("/")[2].partition(".ko")[0]
    return name.replace("-", "_")


@rule("kernel-tuning")
def kernel_tuning(subject: Subject) -> str:
    """Read the sysctl settings that a boot would apply, in the order it would."""
    settings = sysctl_settings(subject.tree)
    missing = [key for key in SYSCTL_KEYS if key not in settings]
    if missing:
        raise CheckFailedError(f"not set: {', '.join(missing)}")
    wrong = [
        f"{key} = {settings[key]}"
        for key, value in SYSCTL_KEYS.items()
        if value is not None and settings[key] != value
    ]
    if wrong:
        raise CheckFailedError(f"wrong: {', '.join(wrong)}")
    return f"{len(SYSCTL_KEYS)} settings"


def sysctl_settings(tree: Tree) -> dict[str, str]:
    """Merge sysctl.d(5) files as systemd-sysctl does: by file name, earlier directories win."""
    chosen: dict[str, str] = {}
    for directory in SYSCTL_DIRECTORIES:
        for path in tree.glob(directory, "*.conf"):
            chosen.setdefault(path.rpartition("/")[2], path)
    paths = [chosen[name] for name in sorted(chosen)]
    settings: dict[str, str] = {}
    for path in paths:
        for line in (tree.text(path) or "").splitlines():
            stripped = line.strip()
            if not stripped or stripped[0] in "#;":
                continue
            key, equals, value = stripped.partition("=")
            if equals:
                name = key.strip().removeprefix("-").replace("/", ".")
                settings[name] = " ".join(value.split())
    return settings
