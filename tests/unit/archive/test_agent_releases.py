"""For which Python and machine uv is asked, by the packages of the image."""

from __future__ import annotations

import pytest

from retrofit.archive.agent_releases import _environment_of
from retrofit.archive.evidence import STATUS, Evidence
from retrofit.archive.offer import ArchiveError


def image(python: str = "3.12.3-0ubuntu2", libc: str = "2.39-0ubuntu8") -> Evidence:
    packages = {"python3": python, "libc6": libc}
    status = "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n"
        f"Version: {version}\n\n"
        for name, version in packages.items()
        if version
    )
    return Evidence(files={STATUS: (status or "Package: a\n").encode()})


@pytest.mark.parametrize(
    ("python", "libc", "architecture", "expected"),
    [
        ("3.12.3-0ubuntu2", "2.39-0ubuntu8", "amd64", ("3.12.3", "x86_64-manylinux_2_39")),
        ("3.13.5-1", "2.41-12", "arm64", ("3.13.5", "aarch64-manylinux_2_40")),
        ("1:3.10.6-1~22.04", "2.27-1", "amd64", ("3.10.6", "x86_64-manylinux_2_28")),
        ("3.14-1", "", "amd64", ("3.14", "x86_64-manylinux_2_28")),
    ],
)
def test_python_and_glibc_are_the_image_s(
    python: str, libc: str, architecture: str, expected: tuple[str, str]
) -> None:
    words = _environment_of(image(python, libc), architecture)
    assert tuple(words[1::2]) == expected


@pytest.mark.parametrize(
    ("python", "architecture", "reason"),
    [("", "amd64", "Python"), ("2.7.18-1", "amd64", "Python"), ("3.12.3-1", "s390x", "s390x")],
)
def test_without_either_nobody_knows(python: str, architecture: str, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        _environment_of(image(python), architecture)
