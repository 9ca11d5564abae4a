"""What comes of the control plane's certificates: a forecast, a warning, a refusal."""

from __future__ import annotations

import pytest

from retrofit.control_plane.certificates import (
    Certificates,
    Client,
    Judgement,
    is_strict,
    judged,
)
from retrofit.control_plane.forecast import forecast
from retrofit.control_plane.releases import stated

WORDS = "CA cert does not include key usage extension"
CLIENT = Client(ca=b"ca", shown=b"shown", keyless=True)


def certificates(strict: str | None = WORDS, lenient: str | None = None) -> Certificates:
    judgement = Judgement(lenient=lenient, strict=strict)
    return Certificates(source="CA ca.pem", client=CLIENT, judgement=judgement)


@pytest.mark.parametrize(
    ("python", "strict"),
    [
        ("3.9.2", False),
        ("3.12", False),
        ("3.13.5", True),
        ("3.14.7~rc1", True),
        ("", False),
        ("3." + 5000 * "9", False),
        ("4.0", True),
    ],
)
def test_pythons_from_3_13_on_are_strict(python: str, strict: bool) -> None:
    assert is_strict(python) is strict


def test_a_refusal_by_the_booted_agent_fails_the_image_and_names_the_ways_out() -> None:
    found = judged(certificates(), "CERTIFICATE_UNKNOWN", guard="refuse", proven=True)
    assert found.outcome == "failed"
    for words in (WORDS, "CERTIFICATE_UNKNOWN", "ca.pem", "keyUsage=critical,keyCertSign"):
        assert words in found.detail
    for way_out in ("openssl verify -x509_strict", "source.series", "certificates = warn"):
        assert way_out in found.detail


@pytest.mark.parametrize(("guard", "proven"), [("warn", True), ("refuse", False)])
def test_what_is_inferred_or_only_to_be_warned_of_warns(guard: str, proven: bool) -> None:
    found = judged(certificates(), WORDS, guard=guard, proven=proven)
    assert found.outcome == "warned"
    assert "ways out" not in found.detail


def test_an_agent_that_accepts_them_passes_whatever_this_machine_thinks() -> None:
    assert judged(certificates(), None, guard="refuse", proven=True).outcome == "passed"


def test_what_every_python_refuses_is_no_fault_of_the_image() -> None:
    expired = certificates("certificate has expired", "certificate has expired")
    found = judged(expired, "CERTIFICATE_EXPIRED", guard="refuse", proven=True)
    assert found.outcome == "warned"
    assert "every Python refuses it" in found.detail
    assert forecast(None, expired, "resolute", ["resolute"]) == []


def test_a_forecast_names_the_series_whose_python_would_accept_them() -> None:
    (told,) = forecast(None, certificates(), "resolute", ["resolute", "noble", "jammy"])
    assert "Python 3.14 of resolute" in told
    assert WORDS in told
    assert "of the configured series noble, jammy would pass" in told
    assert forecast(None, certificates(), "noble", ["noble"]) == []
    assert forecast(None, certificates(None), "resolute", ["resolute"]) == []


def test_a_series_passes_only_where_no_guard_is_against_it() -> None:
    plane = stated("2025.1", "octavia.release")
    found = forecast(plane, certificates(), "resolute", ["resolute", "noble", "jammy"])
    assert len(found) == 2
    assert all("of the configured series jammy would pass" in each for each in found)


def test_unknown_certificates_are_warned_of_where_a_python_is_strict() -> None:
    unknown = Certificates(source="octavia.conf is not readable")
    (told,) = forecast(None, unknown, "resolute", ["resolute"])
    assert "are not known (octavia.conf is not readable)" in told
    assert forecast(None, unknown, "noble", ["noble"]) == []
    assert forecast(None, None, "resolute", ["resolute"]) == []
