"""The facts about what releases of Octavia write, against Octavia's own packages and HAProxy's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from retrofit.control_plane.configurations import DIRECTORY, PEER, configuration
from retrofit.control_plane.expectation import Expectation, findings
from retrofit.control_plane.language import FORMS, KIND, KINDS, Form
from retrofit.control_plane.releases import RELEASES, Version, stated
from retrofit.verify.boot.certificates import authority
from retrofit.verify.control_plane.language import ask_language
from tests.component.control_plane import haproxies, octavias
from tests.devcloud.places import server_program

CACHE = Path(__file__).parents[3] / ".cache" / "language"
VERSIONS = tuple(
    dict.fromkeys(
        (*(each.first for each in RELEASES), (15, 0, 0), (16, 0, 1), *(r.last for r in RELEASES))
    )
)
"""Both ends of every release, and where a form was given up between them."""


def dotted(version: Version) -> str:
    return ".".join(map(str, version))


def writes(form: Form, texts: dict[str, str]) -> bool:
    """True if the old form is in what Octavia wrote."""
    if form.name == "httpchk-headers":
        return any(re.search(r"httpchk .*\\r\\n", text) for text in texts.values())
    if form.name == "one-list-of-ciphers":
        return "ciphersuites" not in texts["tls"]
    return any(re.search(re.escape(form.text) + r"\b", text) for text in texts.values())


def test_the_development_clouds_octavia_writes_what_the_table_tells(tmp_path: Path) -> None:
    version = subprocess.run(
        [server_program("python"), "-c",
         "import importlib.metadata as m; print(m.version('octavia'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    texts = octavias.rendered(tmp_path, haproxy="3.0.11")
    assert texts.keys() == KIND.keys()
    octavia = tuple(map(int, version.split(".")))
    for form in FORMS:
        assert writes(form, texts) == form.written_by(octavia), form.name


@pytest.mark.slow
@pytest.mark.root
def test_haproxy_takes_and_refuses_what_the_table_tells(tmp_path: Path) -> None:
    roots = {suite: haproxies.unpacked(suite, CACHE / "debian") for suite in haproxies.SUITES}
    haproxy = {suite: haproxies.haproxy_version(root) for suite, root in roots.items()}
    pem = authority("load balancer").pem
    rows, wrong = [], []
    for octavia in sorted(VERSIONS):
        code = octavias.unpacked(dotted(octavia), CACHE / "octavia")
        # What Octavia writes differs by HAProxy's version only below 2.2.
        texts = octavias.rendered(tmp_path / dotted(octavia), haproxy="3.0.11", code=code)
        wrong += [
            f"octavia {dotted(octavia)} and the form {form.name}"
            for form in FORMS
            if writes(form, texts) != form.written_by(octavia)
        ]
        for suite, root in roots.items():
            refused = []
            for kind in KINDS:
                text = texts[kind.name]
                peer = re.search(r"^\s*peer (\S+) ", text, re.MULTILINE)
                theirs = haproxies.refusal(root, text, pem=pem, peer=peer[1] if peer else "none")
                ours = haproxies.refusal(root, configuration(kind, octavia), pem=pem, peer=PEER)
                told = kind.refusal(octavia, haproxy[suite])
                if theirs is not None:
                    refused.append(kind.name)
                if {theirs is None, ours is None, told is None} != {theirs is None}:
                    wrong.append(
                        f"octavia {dotted(octavia)}, {suite}, {kind.name}: Octavia's {theirs!r},"
                        f" ours {ours!r}, table {told and told.name}"
                    )
                elif told is not None and told.words not in str(theirs):
                    wrong.append(f"{kind.name}: {theirs!r} is not {told.words!r}")
            rows.append(
                f"octavia {dotted(octavia):7} HAProxy {haproxy[suite]:7} of {suite:9}"
                f" {len(KINDS) - len(refused)} of {len(KINDS)} taken"
                + (f", refused: {', '.join(refused)}" if refused else "")
            )
    print("\n" + "\n".join(rows))
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize(
    ("release", "failed"),
    [
        ("2025.1", {f"haproxy-takes-2025.1-http-monitor{end}" for end in ("", "-with-host")}),
        ("2025.2", set()),
    ],
)  # fmt: skip
def test_the_questions_to_an_image_are_answered_by_its_own_programs(
    release: str, failed: set[str], tmp_path: Path
) -> None:
    root = haproxies.unpacked("trixie", CACHE / "debian")
    expected = Expectation(plane=stated(release, "octavia.release"))

    def ask(script: str, seconds: float) -> str:
        """Run the script as the guest's shell does, with the programs of the image."""
        for name in ("haproxy", "keepalived"):
            (tmp_path / name).write_text(
                f"#!/bin/sh\nrm -rf {root}{DIRECTORY}; cp -r {DIRECTORY} {root}/run/\n"
                f'exec chroot {root} {name} "$@"\n'
            )
            (tmp_path / name).chmod(0o755)
        answered = subprocess.run(
            ["bash"],
            input=script,
            env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds,
        )
        return answered.stdout + answered.stderr

    answers = ask_language(expected, ask, pem=authority("load balancer").pem)
    found = findings(expected, answers, proven=True)
    assert {each.name for each in found if each.refuses} == failed
    warned = {each.name for each in found if each.refused} - failed
    assert warned == ({"haproxy-takes-2025.1-prometheus"} if release == "2025.1" else set())
