"""What is wrong is named before a run fetches anything, and alike by `retrofit doctor`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from retrofit.build import needs
from retrofit.cloud import Glance, Removal
from retrofit.cloud.glance import Quota
from retrofit.errors import PublishError, VerifyError
from retrofit.produce.preflight import glance as tries_of_glance
from retrofit.produce.preflight import machine, room, verification
from retrofit.system import process
from retrofit.system.memory import Memory
from retrofit.verify.boot import kvm
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.server_config import Limits
from tests.integration.harness import RETENTION_AT_ONCE, CloudHarness
from tests.integration.test_control_plane import RESOLUTE, written

NOWHERE = "http://127.0.0.1:1"
Act = Callable[[CloudHarness, pytest.MonkeyPatch, ExitStack], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong, and what has to be named: in the message, and as the way out."""

    act: Act
    exit_code: int
    named: str
    way_out: str
    by: str
    """Name of the try that finds it."""
    warns: bool = False
    """Whether a run goes on in spite of it."""


def setting(toml: str) -> Act:
    def act(harness: CloudHarness, _patched: pytest.MonkeyPatch, _stack: ExitStack) -> None:
        harness.toml = f"{RETENTION_AT_ONCE}{toml.replace('DIRECTORY', str(harness.directory))}"

    return act


def patched(target: object, name: str, value: object) -> Act:
    def act(_harness: CloudHarness, patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
        patch.setattr(target, name, value)

    return act


def entry(**changes: Any) -> Act:
    """Change the cloud's entry in clouds.yaml; `password` is in `auth`."""

    def act(harness: CloudHarness, _patched: pytest.MonkeyPatch, _stack: ExitStack) -> None:
        document = yaml.safe_load(harness.site.clouds_yaml.read_text())
        cloud = document["clouds"]["demo"]
        for key, value in changes.items():
            (cloud["auth"] if key == "password" else cloud)[key] = value
        harness.clouds_yaml = harness.directory / "clouds.yaml"
        harness.clouds_yaml.write_text(yaml.safe_dump(document))

    return act


def missing_tool(_harness: CloudHarness, patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
    which = shutil.which

    def without(tool: str, **options: Any) -> str | None:
        return None if tool == "debugfs" else which(tool, **options)

    patch.setattr(machine.shutil, "which", without)


def missing_emulator(_harness: CloudHarness, patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
    which = shutil.which

    def without(tool: str, **options: Any) -> str | None:
        return None if tool == "qemu-system-x86_64" else which(tool, **options)

    patch.setattr(verification.shutil, "which", without)


def filesystem(**facts: int) -> Act:
    known = {"f_bavail": 1 << 30, "f_frsize": 4096, "f_files": 1 << 30, "f_favail": 1 << 29}
    return patched(os, "statvfs", lambda _: SimpleNamespace(**(known | facts)))


def little_memory(megabytes: int) -> Act:
    here = Memory(total=1 << 34, available=megabytes << 20)

    def act(_harness: CloudHarness, patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
        for module in (needs, room):
            patch.setattr(module, "memory", lambda: here)

    return act


def dropped(harness: CloudHarness, patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
    sudo = harness.directory / "sudo"
    sudo.write_text(
        '#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec env -i PATH="$PATH" "$@"\n'
    )
    patch.setattr(machine, "SUDO", sudo)


def refusing(error: Exception) -> Callable[..., Any]:
    def raise_it(*_: Any, **__: Any) -> Any:
        raise error

    return raise_it


def kvm_that_does_not_work(
    harness: CloudHarness, patch: pytest.MonkeyPatch, _stack: ExitStack
) -> None:
    harness.toml = f'{RETENTION_AT_ONCE}[verify]\naccelerator = "kvm"\n'
    device = harness.directory / "kvm"
    device.touch()
    patch.setattr(kvm, "DEVICE", device)
    words = ["qemu-system-x86_64"]
    lost = process.command_failure(words, 1, "qemu: Could not access KVM kernel module: No device")
    patch.setattr(kvm, "start", refusing(lost))


def clock(offset: timedelta) -> Act:
    class There(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
            return datetime.now(UTC) + offset

    return patched(tries_of_glance, "datetime", There)


def certificates(harness: CloudHarness, _patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
    directory = harness.directory / "controller"
    directory.mkdir()
    written(directory, guide=True)
    harness.source("20260912", product=RESOLUTE)
    harness.toml = (
        f'{RETENTION_AT_ONCE}[source]\nseries = ["resolute"]\n[octavia]\nquery = "never"\n'
        f'release = "2025.2"\nconfig_file = "{directory}/octavia.conf"\n'
    )


def unreadable_ca(harness: CloudHarness, _patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
    (harness.directory / "ca.pem").write_text("nothing\n")
    harness.toml = f'{RETENTION_AT_ONCE}[build]\nca_bundle = "{harness.directory}/ca.pem"\n'


def no_source(harness: CloudHarness, _patch: pytest.MonkeyPatch, _stack: ExitStack) -> None:
    harness.toml = f'{RETENTION_AT_ONCE}[source]\nseries = ["jammy"]\n'


def another_architecture(
    harness: CloudHarness, patch: pytest.MonkeyPatch, _stack: ExitStack
) -> None:
    patch.setattr(machine.platform, "machine", lambda: "riscv64")
    patch.setattr(machine, "BINFMT", harness.directory)


QUOTA = {"image_size_total": Quota(limit=1000, used=1000)}
MANGLED = PublishError(
    "cannot tag image x with octavia-amphora: Glance took the request, but the image has the tags:"
    " octavia",
    hint="something in front of Glance changes addresses",
)

FAULTS = {
    "missing tool": Fault(
        act=missing_tool, exit_code=5, by="tools",
        named="cannot build without debugfs", way_out="apt-get install e2fsprogs",
    ),
    "missing QEMU": Fault(
        act=missing_emulator, exit_code=6, by="verification",
        named="cannot verify without qemu-system-x86_64", way_out="apt-get install qemu-system-x86",
    ),
    "no loop device": Fault(
        act=patched(machine, "LOOP_CONTROL", Path("/nowhere/loop-control")), exit_code=5,
        by="loop-devices", named="there are no loop devices here", way_out="modprobe loop",
    ),
    "no right to mount": Fault(
        act=patched(machine, "TRY_MOUNT", "exit 1"), exit_code=5, by="mounts",
        named="cannot mount filesystems here", way_out="a container must be privileged",
    ),
    "sudo that drops its environment": Fault(
        act=dropped, exit_code=5, by="sudo", named="sudo drops the environment",
        way_out="no other sudo",
    ),
    "another architecture": Fault(
        act=another_architecture, exit_code=5, by="architecture",
        named="cannot run programs of x86_64", way_out="qemu-user-static",
    ),
    "no raw sockets": Fault(
        act=patched(verification, "_require_full", refusing(
            VerifyError("raw sockets cannot be opened", hint="--cap-add NET_RAW"))),
        exit_code=6, by="verification", named="raw sockets cannot be opened",
        way_out="--cap-add NET_RAW",
    ),
    "KVM that is there and does not work": Fault(
        act=kvm_that_does_not_work, exit_code=6, by="kvm",
        named="is there and does not work: Could not access KVM kernel module",
        way_out="verify.accelerator = auto",
    ),
    "too little memory to build": Fault(
        act=little_memory(512), exit_code=5, by="room", named="512 MiB of memory is available",
        way_out="stop something else",
    ),
    "too little memory to boot": Fault(
        act=little_memory(1100), exit_code=6, by="room",
        named="booting the image needs 1280 MiB", way_out="lower verify.memory",
    ),
    "too little disk": Fault(
        act=filesystem(f_bavail=1000), exit_code=5, by="room",
        named="and this build needs", way_out="paths.work",
    ),
    "too few inodes": Fault(
        act=filesystem(f_favail=10), exit_code=5, by="room",
        named="has room for 10 more files", way_out="another filesystem",
    ),
    "clock behind by a day": Fault(
        act=clock(timedelta(days=-1)), exit_code=5, by="clock",
        named="apt and TLS refuse what is not valid yet", way_out="NTP",
    ),
    "clock ahead by a day": Fault(
        act=clock(timedelta(days=1)), exit_code=5, by="clock",
        named="apt and TLS refuse what is not valid yet", way_out="NTP",
    ),
    "wrong password": Fault(
        act=entry(password="wrong"), exit_code=3, by="cloud",
        named="Keystone refuses the credentials", way_out="password",
    ),
    "CA of the cloud that cannot be read": Fault(
        act=entry(cacert="/nowhere/ca.pem"), exit_code=2, by="cloud",
        named="cacert of cloud demo cannot be read: /nowhere/ca.pem", way_out="OS_CACERT",
    ),
    "visibility that Glance refuses": Fault(
        act=setting('visibility = "public"\n'), exit_code=7, by="record",
        named="Glance refuses publish.visibility = 'public'", way_out="cloud's operator",
    ),
    "tag that a front mangles": Fault(
        act=patched(Glance, "tag", refusing(MANGLED)), exit_code=7, by="record",
        named="but the image has the tags: octavia", way_out="in front of Glance",
    ),
    "images that may not be deleted": Fault(
        act=patched(Glance, "delete", lambda *_: Removal.REFUSED), exit_code=7, by="record",
        named="Glance does not delete record", way_out="delete_image",
    ),
    "quota full": Fault(
        act=patched(Glance, "quotas", lambda _: QUOTA), exit_code=7, by="quota",
        named="quota in Glance is full: 1000 MiB of 1000 MiB", way_out="image_size_total",
    ),
    "no source": Fault(
        act=no_source, exit_code=4, by="source", named="no usable source", way_out="synchron",
    ),
    "index of the mirror away": Fault(
        act=setting(f'[source]\norigin = "simplestreams"\n[mirror]\nurl = "{NOWHERE}/"\n'
                    "allow_unsigned = true\nretries = 0\n"),
        exit_code=4, by="source", named="127.0.0.1:1", way_out="mirror",
    ),
    "archive away": Fault(
        act=setting(f'[build]\narchive_mirror = "{NOWHERE}/ubuntu"\n'), exit_code=5, by="archive",
        named="127.0.0.1:1", way_out="build.archive_mirror",
    ),
    "proxy away": Fault(
        act=setting('[build]\nsecurity_mirror = "http://archive.invalid/ubuntu"\n'
                    f'http_proxy = "{NOWHERE}"\n'),
        exit_code=5, by="archive", named="127.0.0.1", way_out="build.http_proxy",
    ),
    "CA of the build that cannot be read": Fault(
        act=unreadable_ca, exit_code=5, by="ca-bundle",
        named="cannot be used: it has no CERTIFICATE block", way_out="PEM",
    ),
    "Python index away": Fault(
        act=setting(f'[build]\nagent = "pypi"\npython_index = "{NOWHERE}/simple/"\n'), exit_code=5,
        by="python-index", named="uv cannot find octavia", way_out="build.python_index",
    ),
    "lock server away": Fault(
        act=setting('[lock]\nurl = "redis://127.0.0.1:1"\n'), exit_code=3, by="lock",
        named="127.0.0.1:1", way_out="lock",
    ),
    "Octavia of an unknown release": Fault(
        act=setting('[octavia]\nquery = "never"\nrelease = "2031.1"\n'), exit_code=0, by="octavia",
        named="2031.1, not known to this version", way_out="upgrade retrofit", warns=True,
    ),
    "certificates that the agent will refuse": Fault(
        act=certificates, exit_code=6, by="octavia",
        named="refuse the control plane's client certificate", way_out="source.series",
    ),
    "load balancers that HAProxy will refuse": Fault(
        act=setting('[octavia]\nquery = "never"\nrelease = "2025.1"\n'), exit_code=6, by="octavia",
        named="HAProxy 2.8 of noble refuses", way_out="upgrade the control plane",
    ),
}  # fmt: skip


@pytest.mark.sampled(8)
@pytest.mark.root
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_is_named_with_its_way_out_and_nothing_is_fetched(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault = FAULTS[name]
    harness.source("20260911")
    with ExitStack() as stack, monkeypatch.context() as patch:
        fault.act(harness, patch, stack)
        before = set(harness.everything())
        found = harness.retrofit("doctor", "-o", "json", exit_code=fault.exit_code).document
        run = harness.retrofit("run-once", "-o", "json", exit_code=fault.exit_code).document
    assert found["exit_code"] == fault.exit_code
    tried = {each["name"]: each for each in found["tries"]}[fault.by]
    assert tried["outcome"] == ("warned" if fault.warns else "failed")
    if fault.warns:
        assert run["outcome"] == "published"
        assert any(tried["detail"][:40] in note or fault.named in note for note in run["notes"])
        return
    assert fault.named in tried["detail"]
    assert fault.way_out in tried["hint"]
    assert fault.named in run["error"]["message"]
    assert fault.way_out in run["error"]["hint"]
    assert "fetch" not in [step["name"] for step in run["steps"]]
    if name != "images that may not be deleted":
        assert set(harness.everything()) == before


@pytest.mark.root
def test_a_cloud_and_a_machine_that_lack_nothing_pass(harness: CloudHarness) -> None:
    harness.source("20260911")
    harness.toml += '[octavia]\nrelease = "2025.2"\n[verify]\naccelerator = "tcg"\n'
    images = harness.everything()
    found = harness.retrofit("doctor", "-o", "json").document
    assert {each["outcome"] for each in found["tries"]} == {"passed"}
    assert found["exit_code"] == 0
    assert harness.everything() == images
    table = harness.retrofit("doctor").stdout
    for each in found["tries"]:
        assert each["name"] in table
    online = harness.retrofit("config", "check", "--online", "-o", "json").document
    names = {each["name"] for each in online["tries"]}
    assert names == {"directories", "cloud", "lock", "images", "record", "quota", "octavia"}
    assert harness.everything() == images


@pytest.mark.root
def test_with_several_faults_all_are_named_and_the_first_counts(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.source("20260911")
    harness.toml += 'visibility = "public"\n[build]\narchive_mirror = "http://127.0.0.1:1/u"\n'
    monkeypatch.setattr(machine, "LOOP_CONTROL", Path("/nowhere/loop-control"))
    found = harness.retrofit("doctor", "-o", "json", exit_code=7).document
    failed = [each["name"] for each in found["tries"] if each["outcome"] == "failed"]
    assert failed == ["record", "loop-devices", "archive"]
    run = harness.retrofit("run-once", "-o", "json", exit_code=7).document
    noted = " ".join(run["notes"])
    assert "loop-devices, too: there are no loop devices here" in noted
    assert "archive, too: " in noted


@pytest.mark.sampled(1)
@pytest.mark.root
@pytest.mark.parametrize("writes", [1, 3, 5])
def test_a_record_that_a_killed_try_left_is_deleted_by_the_next_run(
    harness: CloudHarness, writes: int
) -> None:
    harness.source("20260911")
    before = set(harness.everything())
    assert harness.killed_after(writes, "run-once")
    left = set(harness.everything()) - before
    assert {harness.everything()[each]["status"] for each in left} == {"queued"}
    assert harness.octavia() is None
    assert set(harness.read("plan")["clean_up"]) == left
    report = harness.retrofit("run-once", "-o", "json").document
    assert set(report["cleaned_up"]) == left
    assert set(harness.everything()) - before == {report["image_id"]}


PROTECTED = """\
[^site_.*]
create = admin
read = @
update = admin
delete = admin
[.*]
create = @
read = @
update = @
delete = @
"""


@pytest.mark.slow
@pytest.mark.root
def test_a_property_that_glance_refuses_is_named(
    devcloud_with: Callable[[Limits], Devcloud],
    harness_at: Callable[[Devcloud], CloudHarness],
    tmp_path: Path,
) -> None:
    rules = tmp_path / "protections.conf"
    rules.write_text(PROTECTED)
    limits = Limits(
        extra_glance=f"[DEFAULT]\nproperty_protection_file = {rules}\n"
        "property_protection_rule_format = roles\nimage_property_quota = 48\n"
    )
    harness = harness_at(devcloud_with(limits))
    harness.source("20260911")
    before = set(harness.everything())
    harness.toml += '[publish.properties]\nhw_fine = "yes"\nsite_owner = "me"\n'
    found = harness.retrofit("doctor", "-o", "json", exit_code=7).document
    run = harness.retrofit("run-once", "-o", "json", exit_code=7).document
    assert "Glance refuses publish.properties.site_owner = 'me': " in run["error"]["message"]
    assert "hw_fine" not in run["error"]["message"]
    tried = {each["name"]: each for each in found["tries"]}["record"]
    assert tried["detail"] == run["error"]["message"]
    assert tried["hint"] == run["error"]["hint"]
    assert set(harness.everything()) == before
    # More than Glance takes, once the run has added what it adds after the upload.
    many = "".join(f'hw_{number} = "x"\n' for number in range(20))
    harness.toml = f"{RETENTION_AT_ONCE}[publish.properties]\n{many}"
    run = harness.retrofit("run-once", "-o", "json", exit_code=7).document
    assert "413" in run["error"]["message"]
    assert set(harness.everything()) == before


@pytest.mark.root
def test_while_a_run_is_going_on_nothing_is_created(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.source("20260911")
    inside: list[Any] = []
    build = harness.fake_builder.build

    def ask_meanwhile(request: Any) -> Any:
        inside.append(harness.retrofit("doctor", "-o", "json", exit_code=None).document)
        return build(request)

    monkeypatch.setattr(harness.fake_builder, "build", ask_meanwhile)
    assert harness.run().outcome == "published"
    tried = {each["name"]: each for each in inside[0]["tries"]}
    assert tried["lock"]["outcome"] == "warned"
    assert "record" not in tried


def test_runs_without_a_build_try_nothing(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.source("20260911")
    harness.promoted("20260911", days=1)
    monkeypatch.setattr(tries_of_glance, "try_record", refusing(PublishError("tried")))
    assert harness.act("run-once")["outcome"] == "unchanged"
