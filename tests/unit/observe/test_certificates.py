"""Where the control plane's certificates are looked for, and what is made of what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit.cloud import octavia_conf
from retrofit.config import OctaviaSettings, Target
from retrofit.observe.certificates import observe_certificates
from retrofit.verify.boot.certificates import (
    GUIDE_NAME,
    authority,
    guide_authority,
    issued,
    issued_by_guide,
)

WORDS = "CA cert does not include key usage extension"


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A controller's directory with certificates that are made as the charm guide shows."""
    ca = guide_authority()
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    (tmp_path / "client.pem").write_bytes(issued_by_guide(ca, GUIDE_NAME).pem)
    (tmp_path / "server_ca.pem").write_bytes(guide_authority().certificate_pem)
    (tmp_path / "octavia.conf").write_text(
        f"[controller_worker]\nclient_ca = {tmp_path}/ca.pem\n[haproxy_amphora]\n"
        f"client_cert = {tmp_path}/client.pem\nserver_ca = {tmp_path}/server_ca.pem\n"
    )
    return tmp_path


def target(**octavia: Any) -> Target:
    return Target(octavia=OctaviaSettings.model_validate(octavia))


def test_octavia_conf_names_the_files(guide: Path) -> None:
    found = observe_certificates(target(config_file=guide / "octavia.conf"))
    assert found is not None
    assert found.judgement is not None
    assert (found.judgement.lenient, found.judgement.strict) == (None, WORDS)
    assert f"{guide}/client.pem" in found.source
    (remark,) = found.remarks
    assert "server_ca.pem" in remark
    assert "no matter of the image" in remark


def test_settings_win_over_octavia_conf(guide: Path) -> None:
    ca = authority("CA")
    (guide / "own-ca.pem").write_bytes(ca.certificate_pem)
    (guide / "own.pem").write_bytes(issued(ca, "controller").pem)
    found = observe_certificates(
        target(
            config_file=guide / "octavia.conf",
            client_ca=guide / "own-ca.pem",
            client_cert=guide / "own.pem",
        )
    )
    assert found is not None
    assert found.judgement is not None
    assert found.judgement.strict is None


def test_a_ca_alone_is_judged_by_a_copy(guide: Path) -> None:
    found = observe_certificates(target(client_ca=guide / "ca.pem"))
    assert found is not None
    assert found.judgement is not None
    assert found.judgement.strict == WORDS
    assert found.client is not None
    assert not found.client.keyless


def test_what_cannot_be_read_is_not_known(guide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octavia_conf, "USUAL_PLACE", guide / "absent.conf")
    for settings, why in (
        ({}, "octavia.client_ca is not set, and octavia.conf is not readable"),
        ({"client_ca": guide / "absent.pem"}, "absent.pem cannot be read: No such file"),
        ({"config_file": guide / "absent.conf"}, "absent.conf cannot be read"),
    ):
        found = observe_certificates(target(**settings))
        assert found is not None
        assert (found.client, found.judgement) == (None, None)
        assert why in found.source


def test_nobody_reads_them_where_nobody_wants_to_know(guide: Path) -> None:
    settings = {"compatibility": {"certificates": "ignore"}, "client_ca": guide / "ca.pem"}
    assert observe_certificates(target(**settings)) is None
