"""A tag and a property are what Glance, an address and a database read alike, or refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from retrofit.config import PublishSettings
from retrofit.config.file import parse
from retrofit.errors import ConfigError


@pytest.mark.parametrize(
    "tag", ["octavia-amphora", "a", "A.b_c~d", "gold:v1", "x@y", "!$&'()*+,;=", "a" * 255, "..."]
)
def test_tags_that_an_address_carries(tag: str) -> None:
    assert PublishSettings(tag=tag).tag == tag


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("octavia-amphora#staging", "'#', which ends an address"),
        ("octavia-amphora?x", "'?', which ends a path"),
        ("a/b", "separates parts"),
        ("a%2Fb", "begins an encoded character"),
        ("a\\b", "separator"),
        ("..", "another place"),
        (".", "another place"),
        ("", "at least one"),
        ("two words", "a blank"),
        (" octavia-amphora", "a blank"),
        ("octavia-amphora\n", r"U\+000A"),
        ("a\tb", r"U\+0009"),
        ("a\x00b", r"U\+0000"),
        ("a\u00a0b", r"U\+00A0"),
        ("amphor\u00e4", r"U\+00E4 LATIN SMALL LETTER A WITH DIAERESIS"),
        ("\U0001f600", r"U\+1F600"),
        ("a" * 256, "256 characters"),
        ('"quoted"', r"U\+0022"),
        ("a{b}", r"U\+007B"),
    ],
)
def test_tags_that_mean_another_one_somewhere_are_refused(tag: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PublishSettings(tag=tag)


@pytest.mark.parametrize(
    "name",
    ["image_type", "instance_uuid", "base_image_ref", "retrofit_target", "RETROFIT_target",
     "content_id", "Image_Type", "hypervisor_type", "kernel_id", "os_glance_x", "img_signature",
     "owner", "os_hidden", "tags"],
)  # fmt: skip
def test_properties_that_decide_whose_an_image_is_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="decides whose an image is"):
        PublishSettings(properties={name: "x"})


@pytest.mark.parametrize("name", ["", "a b", "a/b", "\u00e4", "a\n", "-a", "a" * 256])
def test_names_that_glance_does_not_keep_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        PublishSettings(properties={name: "x"})


@pytest.mark.parametrize("value", ["a\x00", "a\nb", "\U0001f600", " a", "a ", "x" * 65536])
def test_values_that_glance_does_not_keep_are_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        PublishSettings(properties={"note": value})


def test_names_that_differ_in_case_alone_are_one_to_a_database() -> None:
    with pytest.raises(ValidationError, match="case alone"):
        PublishSettings(properties={"note": "a", "Note": "b"})
    two = '[target.a.publish]\ntag = "gold"\n[target.b.publish]\ntag = "Gold"\n'
    with pytest.raises(ConfigError, match=r"target\.b\.publish\.tag"):
        parse(two.encode(), None)


def test_usual_properties_are_free() -> None:
    given = {
        "hw_rng_model": "virtio",
        "trait:CUSTOM_A": "required",
        "note": "\u00fcber",
        "e": "",
    }
    assert PublishSettings(properties=given).properties == given
