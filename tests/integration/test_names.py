"""Whatever `config check` accepts as tag or property comes back from a real Glance unchanged."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retrofit.cloud import Glance
from retrofit.config import CloudSettings, PublishSettings
from retrofit.errors import RetrofitError

TAGS = st.text(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@", min_size=1, max_size=255)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,40}", fullmatch=True)
VALUES = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc"]), max_size=300)
HOSTILE = ("octavia-amphora#staging", "octavia-amphora?x", "a%23b", "a/b", "..", "a b", "\u00e4")


@pytest.fixture
def glance(devcloud: Any, clean_glance: None) -> Glance:
    return Glance.connect(CloudSettings(name=devcloud.cloud, clouds_yaml=devcloud.clouds_yaml))


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tag=TAGS, properties=st.dictionaries(NAMES, VALUES, max_size=3))
def test_what_is_accepted_comes_back_unchanged(
    glance: Glance, tag: str, properties: dict[str, str]
) -> None:
    try:
        accepted = PublishSettings(tag=tag, properties=properties)
    except ValidationError:
        return
    attributes = {"name": "x", "disk_format": "raw", "container_format": "bare"}
    image = glance.create({**attributes, **accepted.properties})
    try:
        assert {name: image.property(name) for name in properties} == properties
        glance.tag(image.id, accepted.tag)
        found = glance.get(image.id)
        assert found is not None
        assert found.tags == {tag}
        assert {name: found.property(name) for name in properties} == properties
        assert [each.id for each in glance.list({"tag": [tag]})] == [image.id]
        glance.untag(image.id, tag)
        found = glance.get(image.id)
        assert found is not None
        assert found.tags == frozenset()
    finally:
        glance.delete(image.id)


@pytest.mark.parametrize("tag", HOSTILE)
def test_a_hostile_tag_never_becomes_another_one(glance: Glance, tag: str) -> None:
    """Refused by the configuration; and where it came by another way, not cut in the address."""
    with pytest.raises(ValidationError):
        PublishSettings(tag=tag)
    image = glance.create({"name": "x", "disk_format": "raw", "container_format": "bare"})
    try:
        glance.tag(image.id, tag)
        refused = False
    except RetrofitError:  # by Glance, or since its answer has another tag: Latin for UTF-8
        refused = True
    found = glance.get(image.id)
    assert found is not None
    assert refused or found.tags == {tag}
    assert "octavia-amphora" not in found.tags
    glance.delete(image.id)


@pytest.mark.parametrize("image_id", ["../schemas/image", "x?limit=1", "x#y", "", "a b", "."])
def test_what_is_no_id_is_no_image(glance: Glance, image_id: str, tmp_path: Path) -> None:
    assert glance.get(image_id) is None
