"""Secrets, identities and build traces, which an image for many machines must not hold."""

from __future__ import annotations

import re

from retrofit.verify.agent_files import (
    AGENT_CONF,
    CERTIFICATE_DIRECTORY,
    CLIENT_CA_PEM,
    SERVER_PEM,
)
from retrofit.verify.checks import CheckFailedError
from retrofit.verify.offline.rules import Subject, rule

PROXY_FILES = ("/etc/environment", "/etc/profile", "/etc/wgetrc", "/etc/pip.conf", "/root/.bashrc",
               "/root/.profile", "/root/.curlrc", "/etc/default/locale")  # fmt: skip
PYTHON_FILES = (
    "/etc/pip.conf",
    "/root/.pip/pip.conf",
    "/root/.config/pip/pip.conf",
    "/root/.pydistutils.cfg",
    "/etc/uv/uv.toml",
    "/root/.config/uv/uv.toml",
    "/opt/amphora-agent-venv/pip.conf",
)
CACHES = ("/root/.cache/pip", "/root/.cache/uv", "/var/cache/apt/archives")
BUILD_FILES = ("/usr/sbin/policy-rc.d", "/etc/dib-manifests", "/.dockerenv")
TEMPORARY = "/tmp"  # noqa: S108 -- the image's, not ours
# For one line each, and to be matched at its beginning: a pattern that may begin at any of a file's
# blanks and end at any other takes minutes for a file of some KiB.
PROXY = re.compile(
    r"[ \t]*(?:export[ \t]+)?(?:https?|ftp|all)_proxy[ \t]*=[ \t]*[\"']?[^\s\"']", re.I
)
APT_WORD = re.compile(r"\"(?P<quoted>[^\"]*)\"|[^\s\"{};]+|[{};]")
HOME_SECRETS = (".ssh/authorized_keys", ".bash_history", ".netrc", ".ssh/id_rsa", ".ssh/id_ed25519")


@rule("no-certificates")
def no_certificates(subject: Subject) -> str:
    """Make sure that no amphora starts with another's key."""
    found = [
        path
        for directory in ("/etc/octavia/certs", CERTIFICATE_DIRECTORY)
        for path in subject.tree.files_below(directory)
    ]
    if found:
        raise CheckFailedError(_listed(found))
    return "none"


@rule("no-agent-configuration")
def no_agent_configuration(subject: Subject) -> str:
    """Make sure that the agent's configuration can only come from the config drive."""
    found = [
        path
        for path in (AGENT_CONF, SERVER_PEM, CLIENT_CA_PEM)
        if subject.tree.entry(path) is not None
    ]
    if found:
        raise CheckFailedError(_listed(found))
    return "none"


@rule("no-ssh-host-keys")
def no_ssh_host_keys(subject: Subject) -> str:
    """Make sure that every machine creates its own host keys."""
    found = subject.tree.glob("/etc/ssh", "ssh_host_*_key*")
    if found:
        raise CheckFailedError(_listed(found))
    return "none"


@rule("no-machine-id")
def no_machine_id(subject: Subject) -> str:
    """Make sure that every machine gets an identity of its own."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        text = (subject.tree.text(path) or "").strip()
        if text not in {"", "uninitialized"}:
            raise CheckFailedError(f"{path} is {text[:8]}...")
    seeds = [
        path
        for path in ("/var/lib/systemd/random-seed", "/var/lib/systemd/credential.secret")
        if subject.tree.entry(path) is not None
    ]
    if seeds:
        raise CheckFailedError(_listed(seeds))
    return "empty"


@rule("no-personal-files")
def no_personal_files(subject: Subject) -> str:
    """Make sure that no keys and no shell history are in a home directory."""
    homes = ["/root", *subject.tree.glob("/home", "*")]
    found = [
        f"{home}/{name}"
        for home in homes
        for name in HOME_SECRETS
        if (subject.tree.text(f"{home}/{name}") or "").strip()
    ]
    if found:
        raise CheckFailedError(_listed(found))
    return f"{len(homes)} home directories"


@rule("no-instance-state")
def no_instance_state(subject: Subject) -> str:
    """Make sure that cloud-init recognises the first boot."""
    found = [
        path
        for path in ("/var/lib/cloud/instance", "/var/lib/cloud/data/instance-id")
        if subject.tree.entry(path) is not None
    ]
    found += subject.tree.glob("/var/lib/cloud/instances", "*")
    if found:
        raise CheckFailedError(_listed(found))
    return "none"


@rule("no-apt-proxy")
def no_apt_proxy(subject: Subject) -> str:
    """Make sure that no proxy of the build's network is left in apt's configuration."""
    for path in ("/etc/apt/apt.conf", *subject.tree.glob("/etc/apt/apt.conf.d", "*")):
        proxy = apt_proxy(subject.tree.text(path) or "")
        if proxy is not None:
            raise CheckFailedError(f"{path}: {_without_password(proxy)}")
    return "none"


def apt_proxy(text: str) -> str | None:
    """Return the first setting of an apt.conf(5) that sends requests through a proxy."""
    name = ""
    for line in text.splitlines():
        if line.lstrip().startswith(("//", "#")):
            continue
        for word in APT_WORD.finditer(line):
            value = word["quoted"]
            if value is None:
                name = word.group()
            elif _is_proxy(name) and value and not value.lower().startswith(("direct", "false")):
                return f'{name} "{value}"'
            else:
                name = ""
    return None


def _is_proxy(name: str) -> bool:
    """Return True for a proxy setting, whole (`Acquire::http::Proxy::HOST`) or in a block."""
    *_, before, last = ["", *name.lower().split("::")]
    return last == "proxy" or before == "proxy"


@rule("no-proxy")
def no_proxy(subject: Subject) -> str:
    """Make sure that no proxy of the build's network is left in the environment."""
    tree = subject.tree
    for path in (*PROXY_FILES, *tree.glob("/etc/profile.d", "*"), *tree.glob("/etc/default", "*"),
                 *tree.glob("/etc/systemd/system.conf.d", "*")):  # fmt: skip
        for line in (tree.text(path) or "").splitlines():
            if PROXY.match(line):
                raise CheckFailedError(f"{path}: {line.partition('=')[0].strip()}")
    return "none"


@rule("no-build-leftovers")
def no_build_leftovers(subject: Subject) -> str:
    """Make sure that configuration, caches and tools of the build are gone."""
    tree = subject.tree
    found = [path for path in (*PYTHON_FILES, *BUILD_FILES) if tree.entry(path) is not None]
    for directory in CACHES:
        found += [path for path in tree.files_below(directory) if not path.endswith("/lock")]
    found += tree.files_below(TEMPORARY)
    found += [
        path
        for path in tree.files_below("/var/lib/apt/lists")
        if not path.endswith("/lock") and "/auxfiles/" not in path
    ]
    found += tree.glob("/etc/apt/sources.list.d", "*dib*")
    if found:
        raise CheckFailedError(_listed(found))
    return "none"


def _listed(paths: list[str]) -> str:
    shown = ", ".join(paths[:5])
    return shown if len(paths) <= 5 else f"{shown} and {len(paths) - 5} more"


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//***@", text)
