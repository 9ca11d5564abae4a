"""No credential of a setting is in a message or in what is shown of the settings."""

from __future__ import annotations

import pytest

from retrofit.config.file import parse
from retrofit.config.secrets import credentials_in, masked
from retrofit.errors import ConfigError
from retrofit.redaction import MASK, redacted


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), None)
    return caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        '[rollover.guard]\nprometheus = "https://anna:va/dent1x@h.test"\n',
        '[rollover.guard]\nprometheus = "anna:va/dent2x@h.test"\n',
        '[rollover.guard]\nprometheus = ["https://anna:va/dent3x@h.test"]\n',
        '[target.a.rollover.guard]\nprometheus = "https://anna:va/dent4x@h.test"\n',
        '[freshness]\nadvisories = ["ftp://anna:va/dent5x@h.test"]\n',
        '[freshness]\nadvisories = ["anna:va/dent6x@h.test/feed"]\n',
        '[freshness]\nadvisories = "https://anna:va/dent7x@h.test"\n',
        '[build]\nppas = "https://anna:va/dent8x@h.test/ubuntu"\n',
        '[source]\nseries = "https://anna:va/dent9x@h.test"\n',
    ],
)
def test_a_refused_value_is_not_repeated_where_it_may_hold_a_password(text: str) -> None:
    message = refused(text)
    assert "cannot be used" in message
    assert not any(part in message for part in ("dent", "va/", "anna"))


def test_what_holds_no_password_is_repeated() -> None:
    assert "(got 'ftp://h.test')" in refused('[rollover.guard]\nprometheus = "ftp://h.test"\n')
    message = refused('[source]\nseries = "noble"\n')
    assert """a list is expected, such as ["noble"] (got 'noble')""" in message
    message = refused('[freshness]\nadvisories = ["feeds/osv"]\n')
    assert "freshness.advisories.0: neither an absolute path nor an address" in message


def test_the_credentials_of_advisories_are_remembered_and_those_alone() -> None:
    settings = parse(
        b'[freshness]\nadvisories = ["https://bert:n0tH1ng/else@h.test/osv?token=s0sEcret",'
        b' "/srv/osv@2026/lists"]\n',
        None,
    )
    assert redacted("cannot open n0tH1ng/else, s0sEcret") == f"cannot open {MASK}, {MASK}"
    assert redacted("cannot open /srv/osv@2026/lists") == "cannot open /srv/osv@2026/lists"
    shown = masked(settings.model_dump(mode="json"))["targets"][0]["freshness"]["advisories"]
    assert shown == [f"https://{MASK}@h.test/osv?token={MASK}", "/srv/osv@2026/lists"]
    of_a_target = {"target": {"a": {"freshness": {"advisories": ["https://u:zw1ebeln@h.test"]}}}}
    assert "zw1ebeln" in list(credentials_in(of_a_target))


def test_a_property_is_shown_but_for_one_whose_name_says_secret() -> None:
    text = '[{}publish.properties]\nhw_rng_model = "virtio"\nx_token = "{}"\n'
    for table, value in (("", "k0hlrab1"), ("target.a.", "m4ngold")):
        settings = parse(text.format(table, value).encode(), None)
        assert redacted(f"cannot set {value}") == f"cannot set {MASK}"
        shown = masked(settings.model_dump(mode="json"))["targets"][0]["publish"]["properties"]
        assert shown == {"hw_rng_model": "virtio", "x_token": MASK}
    text = '[publish.properties]\nauthor = "Platf0rm"\nx_signature_method = "SHA-256"\n'
    settings = parse(text.encode(), None)
    assert redacted("Platf0rm, SHA-256") == "Platf0rm, SHA-256"
    assert MASK not in str(masked(settings.model_dump(mode="json")))
    assert "b00haha" not in refused('[publish.properties]\nx_token = ["b00haha"]\n')
    assert "(got " in refused('[publish.properties]\nos_type = ["linux"]\n')
