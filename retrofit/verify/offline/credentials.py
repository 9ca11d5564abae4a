"""Subscriptions and passwords of a source image, which every amphora would carry along."""

from __future__ import annotations

import re

from retrofit.verify.checks import CheckFailedError
from retrofit.verify.offline.rules import Subject, rule

# ubuntu-pro-client: /etc/ubuntu-advantage/uaclient.conf, data_dir; tokens lie in private/ since 27,
# beside it before.
PRO_TOKENS = ("/var/lib/ubuntu-advantage/machine-token.json",)
PRO_DIRECTORIES = ("/var/lib/ubuntu-advantage/private",)
# cloud-init's cc_ubuntu_pro attaches a machine at its first boot.
CLOUD_CONFIG = ("/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d")
ATTACHES = re.compile(r"[ \t]*(?:ubuntu[-_]advantage|ubuntu[-_]pro)[ \t]*:")
TOKEN = re.compile(r"[ \t{]*[\"']?token[\"']?[ \t]*:[ \t]*[^\s#]")
# apt_auth.conf(5), sources.list(5), apt-transport-https(1).
APT_PASSWORDS = ("/etc/apt/auth.conf", "/etc/apt/auth.conf.d")
APT_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/mirrors")
APT_CONFIGURATION = ("/etc/apt/apt.conf", "/etc/apt/apt.conf.d")
USER_IN_URL = re.compile(r"://[^/@\s]{1,256}@")
CLIENT_KEY = re.compile(r"\bsslkey\b", re.I)


@rule("no-credentials")
def no_credentials(subject: Subject) -> str:
    """Make sure that no Ubuntu Pro token and no password of a package archive is in the image.

    They belong to the machine that the source image was made on. Nothing is removed: a source image
    with such a secret has it in Glance already, and whoever made the image has to know.
    """
    found = [
        *_pro(subject),
        *(f"{path} (password)" for path, line in _lines(subject, APT_PASSWORDS) if _password(line)),
        *(
            f"{path} (user in a URL)"
            for path, line in _lines(subject, (*APT_SOURCES, *APT_CONFIGURATION))
            if USER_IN_URL.search(line)
        ),
        *(
            f"{path} (key of a client certificate)"
            for path, line in _lines(subject, APT_CONFIGURATION)
            if not line.lstrip().startswith(("//", "#")) and CLIENT_KEY.search(line)
        ),
    ]
    if found:
        listed = ", ".join(dict.fromkeys(found))
        raise CheckFailedError(f"{listed}: make a source image without it")
    return "none"


def _pro(subject: Subject) -> list[str]:
    tree = subject.tree
    tokens = [path for path in PRO_TOKENS if (tree.text(path) or "").strip()]
    for directory in PRO_DIRECTORIES:
        tokens += tree.files_below(directory)
    found = [f"{path} (Ubuntu Pro)" for path in tokens]
    for path in _files(subject, CLOUD_CONFIG):
        lines = (tree.text(path) or "").splitlines()
        if any(ATTACHES.match(line) for line in lines) and any(TOKEN.match(line) for line in lines):
            found.append(f"{path} (Ubuntu Pro)")
    return found


def _password(line: str) -> bool:
    words = line.partition("#")[0].split()
    return "password" in words[:-1]


def _files(subject: Subject, places: tuple[str, ...]) -> list[str]:
    """Return the files of places that are files or directories."""
    found: list[str] = []
    for place in places:
        found += subject.tree.files_below(place) if subject.tree.is_directory(place) else [place]
    return found


def _lines(subject: Subject, places: tuple[str, ...]) -> list[tuple[str, str]]:
    return [
        (path, line)
        for path in _files(subject, places)
        for line in (subject.tree.text(path) or "").splitlines()
    ]
