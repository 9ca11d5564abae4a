"""Images are compared by the packages that are installed in them."""

from __future__ import annotations

from retrofit.archive.changes import PackageChange, package_changes, versions
from retrofit.archive.evidence import STATUS, Evidence


def evidence(*packages: str, end: str = "\n") -> Evidence:
    paragraphs = []
    for each in packages:
        name, version, *more = each.split()
        architecture, state = (*more, *("amd64", "installed")[len(more) :])
        paragraphs.append(
            f"Package: {name}\nStatus: install ok {state}\nArchitecture: {architecture}\n"
            f"Version: {version}\nDescription: x\n Version: 9\n"
        )
    status = "\n".join(paragraphs).replace("\n", end)
    return Evidence(files={STATUS: status.encode()})


def test_what_is_new_gone_and_of_another_version() -> None:
    before = evidence("haproxy 1", "libc6 2", "old 1", "same 1")
    after = evidence("haproxy 2", "libc6 1", "new 1", "same 1")
    assert package_changes(before, after) == (
        PackageChange(package="haproxy", before="1", after="2"),
        PackageChange(package="libc6", before="2", after="1"),
        PackageChange(package="new", before=None, after="1"),
        PackageChange(package="old", before="1", after=None),
    )
    assert package_changes(after, after) == ()


def test_what_is_not_installed_is_not_there() -> None:
    assert versions(evidence("a 1 all config-files", "b 2 all half-installed")) == {}


def test_several_architectures_of_a_package() -> None:
    assert versions(evidence("a 1 amd64", "a 1 i386", "b 1 all")) == {
        "a:amd64": "1",
        "a:i386": "1",
        "b": "1",
    }


def test_ends_of_lines_do_not_matter() -> None:
    assert versions(evidence("a 1", "b 2", end="\r\n")) == {"a": "1", "b": "2"}
