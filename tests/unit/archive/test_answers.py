"""apt's answers, as it prints them for scripts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retrofit.archive.answers import security_indexes, tables, taken, updates
from retrofit.archive.offer import Update, UpdateKind
from retrofit.archive.status import Installed

POLICY = """\
Package files:
 100 /root/status
     release a=now
 500 http://h/ubuntu noble-security/main amd64 Packages
     release v=24.04,o=Ubuntu,a=noble-security,n=noble,l=Ubuntu,c=main,b=amd64
     origin h
 500 http://h/ubuntu noble-updates/main amd64 Packages
     release v=24.04,o=Ubuntu,a=noble-updates,n=noble,l=Ubuntu,c=main,b=amd64
     origin h
 500 http://h/debian-security trixie-security/main amd64 Packages
     release v=13,o=Debian,a=stable-security,n=trixie-security,l=Debian-Security,c=main,b=amd64
     origin h
 -10 http://h/old wheezy/updates/main amd64 Packages
     release o=Debian,a=oldstable,n=wheezy,l=Debian-Security,c=main,b=amd64
 500 http://ppa/no-security noble/main amd64 Packages
     release o=x-security,a=noble,n=noble,l=Security of nothing,c=main,b=amd64
     origin ppa
Pinned packages:
     libssl3 -> 3 with priority -1
"""
SECURITY = "http://h/ubuntu noble-security/main amd64 Packages"
VERSIONS = """\
libssl3:
  Installed: 3.0.13-0
  Candidate: 3.0.13-2
  Version table:
     3.0.13-9 -1
        500 http://h/ubuntu noble-security/main amd64 Packages
     3.0.13-2 500 (phased 10%)
        500 http://h/ubuntu noble-updates/main amd64 Packages
     3.0.13-1 500
        500 http://h/ubuntu noble-security/main amd64 Packages
        500 http://h/other noble/main amd64 Packages
 *** 3.0.13-0 100
        100 /root/status
     3.0.12-0 500
        500 http://h/ubuntu noble-security/main amd64 Packages
libc6:i386:
  Installed: 1:2.39-0
  Candidate: 1:2.39-1
  Version table:
     1:2.39-1 500
        500 http://h/ubuntu noble-updates/main i386 Packages
 *** 1:2.39-0 100
        100 /root/status
same:
  Installed: 1
  Candidate: 1
  Version table:
     1 500
        500 http://h/ubuntu noble-security/main amd64 Packages
 *** 1 100
        100 /root/status
gone:
  Installed: (none)
  Candidate: 2
  Version table:
     2 500
        500 http://h/ubuntu noble-security/main amd64 Packages
down:
  Installed: 2
  Candidate: 1
  Version table:
 *** 2 100
        100 /root/status
     1 1001
       1001 http://h/ubuntu noble-security/main amd64 Packages
"""
SIMULATION = """\
NOTE: This is only a simulation!
The following packages have been kept back:
  linux-image-virtual
Inst libssl3 [3.0.13-0] (3.0.13-2 Ubuntu:24.04/noble-updates [amd64]) []
Inst libc6:i386 [1:2.39-0] (1:2.39-1 Ubuntu:24.04/noble-updates [i386])
Inst libnew1 (1 Ubuntu:24.04/noble-updates [amd64])
Conf libssl3 (3.0.13-2 Ubuntu:24.04/noble-updates [amd64])
Remv old [1]
"""


def package(name: str, architecture: str = "amd64", *, held: bool = False) -> Installed:
    return Installed(package=name, architecture=architecture, source=f"src-{name}", held=held)


ALL = (
    package("libssl3"),
    package("libc6", "i386"),
    package("same"),
    package("gone"),
    package("down"),
)


def found(*packages: Installed, held: frozenset[str] = frozenset()) -> tuple[Update, ...]:
    return updates(
        packages, architecture="amd64", simulation=SIMULATION, policy=POLICY, versions=VERSIONS,
        held=held,
    )  # fmt: skip


def test_suites_and_labels_of_security() -> None:
    assert security_indexes(POLICY) == {
        SECURITY,
        "http://h/debian-security trixie-security/main amd64 Packages",
        "http://h/old wheezy/updates/main amd64 Packages",
    }


def test_new_packages_are_not_taken() -> None:
    assert taken(SIMULATION) == {"libssl3", "libc6:i386"}


def test_only_versions_from_the_candidate_down_to_the_installed_one() -> None:
    assert [row.version for row in tables(VERSIONS)["libssl3"].newer] == ["3.0.13-2", "3.0.13-1"]
    assert [tables(VERSIONS)[name].newer for name in ("same", "gone", "down")] == [[], [], []]


def test_updates() -> None:
    libc, openssl = found(*ALL)
    assert openssl == Update(
        package="libssl3",
        source="src-libssl3",
        installed="3.0.13-0",
        candidate="3.0.13-2",
        kind=UpdateKind.SECURITY,
    )
    assert (libc.package, libc.candidate, libc.kind) == (
        "libc6:i386", "1:2.39-1", UpdateKind.OTHER,
    )  # fmt: skip


def test_held_by_the_build_by_dpkg_or_by_apt() -> None:
    for update in (
        found(package("libssl3"), held=frozenset({"libssl3"})),
        found(package("libssl3", held=True)),
        updates(
            [package("libssl3")], architecture="amd64", simulation="", policy=POLICY,
            versions=VERSIONS, held=(),
        ),
    ):  # fmt: skip
        assert [(each.kind, each.has_fix) for each in update] == [(UpdateKind.HELD, True)]


LINES = st.sampled_from([*VERSIONS.splitlines(), *POLICY.splitlines(), *SIMULATION.splitlines()])


@given(st.lists(LINES | st.text(max_size=40)).map("\n".join))
def test_no_answer_breaks_it(text: str) -> None:
    for update in updates(
        ALL, architecture="amd64", simulation=text, policy=text, versions=text, held=()
    ):
        assert update.installed != update.candidate
