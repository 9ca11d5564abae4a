"""A lock's name on a server tells clouds, regions, projects, tags and targets apart."""

from __future__ import annotations

import re

import pytest

from retrofit.lock.names import old_name, shared_name

FACTS = {"project_id": "p", "region": "r", "tag": "octavia-amphora", "target": "default"}


def test_the_same_facts_have_one_name() -> None:
    assert shared_name(**FACTS) == shared_name(**FACTS)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_counts(fact: str) -> None:
    assert shared_name(**{**FACTS, fact: "other"}) != shared_name(**FACTS)


def test_no_two_combinations_run_together() -> None:
    one = shared_name(project_id="p", region=None, tag="b-c", target="a")
    other = shared_name(project_id="p", region=None, tag="c", target="a-b")
    assert one != other
    assert shared_name(**{**FACTS, "region": None}) != shared_name(**{**FACTS, "region": "None"})


@pytest.mark.parametrize("tag", ["a" * 255, "!$&'()*+,;=:@", "..."])
def test_a_name_is_short_and_plain_whatever_the_tag(tag: str) -> None:
    name = shared_name(**{**FACTS, "tag": tag}).decode()
    assert re.fullmatch(r"retrofit-[0-9a-f]{32}-[A-Za-z0-9._-]{1,40}", name)


def test_the_name_of_0_1_0_is_none_of_ours() -> None:
    assert old_name("default") == b"retrofit-default"
    assert not shared_name(**FACTS).startswith(b"retrofit-default")
