"""Columns, formats and the envelope: what operators' scripts are made of."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import yaml

from retrofit.cli.form import Form
from retrofit.cli.render import show_images, show_status
from retrofit.cli.render.form import listed
from retrofit.cli.root import retrofit
from retrofit.errors import ConfigError
from tests.unit.status import scenes

ROWS = [
    {"ID": "b", "Name": "two, of\nlines", "Age": 10, "Promoted": False},
    {"ID": "a", "Name": None, "Age": 9, "Promoted": True},
]


def printed(capsys: pytest.CaptureFixture[str], rows: Any = ROWS, **form: Any) -> str:
    listed(rows, Form(**form), usual=("ID", "Age"))
    return capsys.readouterr().out


def test_values_are_bare_and_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, format="value", columns=("id",)) == "b\na\n"
    assert printed(capsys, format="value", sort="age") == "a 9\nb 10\n"
    assert (
        printed(capsys, format="value", columns=("name", "promoted")) == "two, of lines no\n yes\n"
    )


def test_csv_is_read_by_what_reads_csv(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, format="csv", columns=("ID", "name"))
    assert list(csv.reader(io.StringIO(text))) == [
        ["ID", "Name"],
        ["b", "two, of lines"],
        ["a", ""],
    ]


def test_chosen_columns_are_json_and_yaml_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    expected = [{"ID": "b", "Age": 10}, {"ID": "a", "Age": 9}]
    assert json.loads(printed(capsys, format="json", columns=("ID", "age"))) == expected
    assert yaml.safe_load(printed(capsys, format="yaml", columns=("ID", "age"))) == expected


def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match="no column 'colour'") as refused:
        printed(capsys, columns=("colour",))
    assert refused.value.hint == "columns are ID, Name, Age, Promoted"


def test_nothing_is_printed_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, rows=[], format="value") == ""


def test_a_pipe_gets_lines_without_boxes_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"ID": "x" * 36, "Why": "w" * 400}]
    text = printed(capsys, rows=rows, columns=("ID", "Why"))
    assert "x" * 36 in text
    assert "w" * 400 in text
    assert not set(text) & set("│┃━─┏┓+|")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_envelope_does_not_depend_on_the_number_of_targets(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    status = scenes.document(scenes.ok()).targets[0]
    show_status([status] * number, "json")
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {"schema_version", "targets"}
    assert (document["schema_version"], len(document["targets"])) == (2, number)


def test_a_list_gives_ids_of_promoted_images_without_jq(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_images([scenes.older()], Form(format="value", columns=("id", "promoted", "target")))
    assert capsys.readouterr().out == f"{scenes.OLDER} no default\n"


def test_options_are_accepted_before_and_after_a_command() -> None:
    shared = {"--config", "--target", "--format", "--column", "--sort-column", "--os-cloud"}
    for name, command in retrofit.commands.items():
        words = {word for each in command.params for word in each.opts}
        if name not in {"completion", "config", "build"}:
            assert shared <= words, name


@pytest.mark.parametrize(
    ("form", "text"), [("value", ""), ("csv", "load balancer,name\n"), ("json", "[]\n")]
)
def test_columns_of_no_rows_are_no_mistake(
    capsys: pytest.CaptureFixture[str], form: str, text: str
) -> None:
    """As of load balancers that are behind, where none is."""
    listed([], Form(format=form, columns=("load balancer", "name"), sort="name"))
    assert capsys.readouterr().out == text
