"""What is made of answers that a well configured Octavia does not give."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import MagicMock

import pytest
import requests

from retrofit.cloud.octavia import Octavia
from retrofit.cloud.requests import Requests
from retrofit.errors import CloudError

NEXT = [{"rel": "next", "href": "http://elsewhere/"}]


class Answers:
    """A proxy to something that gives these answers, one after the other."""

    def __init__(self, *bodies: Any) -> None:
        self._bodies = list(bodies)
        self.asked: list[dict[str, str]] = []

    def get(self, path: str, params: dict[str, str]) -> requests.Response:
        self.asked.append(params)
        body = self._bodies.pop(0)
        response = requests.Response()
        response.status_code = body if isinstance(body, int) else 200
        response._content = (
            b"{}"
            if isinstance(body, int)
            else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        return response


def reader(answers: Answers) -> Octavia:
    return Octavia(answers, Requests(MagicMock(), retries=0, timeout=10))


def page(*ids: str, more: bool = True) -> dict[str, Any]:
    rows = [{"id": each, "status": "ALLOCATED", "created_at": None} for each in ids]
    return {"amphorae": rows, "amphorae_links": NEXT if more else []}


def test_reads_on_until_a_page_is_empty_where_every_page_promises_more() -> None:
    answers = Answers(page("a", "b"), page("c"), page())
    assert [each.id for each in reader(answers).amphorae()] == ["a", "b", "c"]
    assert answers.asked == [{}, {"marker": "b"}, {"marker": "c"}]


@pytest.mark.parametrize("status", [400, 404])
def test_begins_again_where_the_last_row_of_a_page_was_purged(status: int) -> None:
    answers = Answers(page("a", "b"), status, page("a"), page("c", more=False))
    assert [each.id for each in reader(answers).amphorae()] == ["a", "c"]
    assert answers.asked == [{}, {"marker": "b"}, {}, {"marker": "a"}]


def test_gives_up_where_every_row_is_purged_and_refusals_of_the_first_page_stay() -> None:
    with pytest.raises(CloudError):
        reader(Answers(*[page("a"), 404] * 6)).amphorae()
    once = Answers(404)
    with pytest.raises(CloudError):
        reader(once).amphorae()
    assert once.asked == [{}]


def test_takes_one_page_without_links_for_the_whole() -> None:
    answers = Answers({"amphorae": page("a")["amphorae"]})  # allow_pagination = False
    assert [each.id for each in reader(answers).amphorae()] == ["a"]


def test_refuses_pages_that_repeat_themselves() -> None:
    answers = Answers(page("a", "b"), page("a", "b"))  # allow_sorting = False
    with pytest.raises(CloudError, match="repeat themselves") as raised:
        reader(answers).amphorae()
    assert "allow_sorting" in str(raised.value.hint)


@pytest.mark.parametrize(
    "body",
    [
        "<html>Welcome</html>",
        [],
        {"versions": []},
        {"amphorae": None},
        {"amphorae": ["a"]},
        {"amphorae": [{"id": "a"}]},
        {"amphorae": [{"id": "a", "status": "ALLOCATED", "created_at": "yesterday"}]},
    ],
)
def test_refuses_what_is_not_an_answer_of_octavia(body: Any) -> None:
    with pytest.raises(CloudError, match="is not an Octavia API"):
        reader(Answers(body)).amphorae()
    with pytest.raises(CloudError, match="is not an Octavia API"):
        reader(Answers(page("first"), body)).amphorae()


@pytest.mark.parametrize("data", ["", "no json", "[]", "{}", '{"amp_image_tag": 7}'])
def test_a_flavor_whose_data_names_no_tag_names_none(data: str) -> None:
    answers = Answers(
        {"flavors": [{"id": "f", "name": "gold", "flavor_profile_id": "p"}]},
        {"flavorprofiles": [{"id": "p", "flavor_data": data}]},
    )
    assert reader(answers).flavors_and_tags() == ({"f": "gold"}, {})


def test_flavors_are_listed_once_and_known_without_the_right_to_list_their_profiles() -> None:
    flavors = {"flavors": [{"id": "f", "name": "gold", "flavor_profile_id": "p"}]}
    tagged = {"flavorprofiles": [{"id": "p", "flavor_data": '{"amp_image_tag": "new"}'}]}
    answers = Answers(flavors, tagged)
    assert reader(answers).flavors_and_tags() == ({"f": "gold"}, {"gold": "new"})
    assert len(answers.asked) == 2
    assert reader(Answers(flavors, 403)).flavors_and_tags() == ({"f": "gold"}, {})
    assert reader(Answers(403)).flavors_and_tags() == ({}, {})
