"""The report of a run, from its model."""

from __future__ import annotations

import typing

from retrofit.runs.report_document import ReportDocument, RunOutcome
from tools.reference import schema
from tools.reference.markdown import table

INTRODUCTION = """\
# Report of a run

`retrofit run-once -f json` prints `{"schema_version": 2, "targets": [...]}` with a report of each
target. The same document is `report.json` in the run's log directory. Keys are only added. Times
are ISO 8601 with an offset.
"""
OUTCOMES = {
    "published": "An image was built, or found built, and promoted.",
    "unchanged": "Nothing to do: the promoted image is current.",
    "failed": "The run failed; `error` has the reason.",
    "interrupted": "A person, or the end of the machine, stopped the run; it cleaned up.",
    "locked": "Another run holds the target's lock, or the lock was lost to one.",
    "paused": "The target is paused.",
    "backoff": "A build failed before, and its next try is later.",
    "promoted": "`promote`, `rollback` or `repair` promoted another image.",
    "retired": "`retire` deleted images.",
    "adopted": "`adopt` gave images the identity of the target.",
    "resumed": "`resume` ended a pause, `rollover --resume` a halt.",
    "rolled_over": "`rollover` moved what was due; `notes` name what stays, with the reasons.",
    "postponed": "`rollover` waits: for a window, a soak, the guard; `reasons` has for what.",
    "halted": "The rollover is halted; `error` has the reason.",
}


def body() -> str:
    """Return the page."""
    outcomes = [(f"`{name}`", OUTCOMES[name]) for name in typing.get_args(RunOutcome)]
    report = ReportDocument.model_json_schema(mode="serialization")
    return "\n".join(
        [
            INTRODUCTION,
            schema.tables(report, title="Document"),
            "## Outcomes\n",
            table(("Outcome", "Meaning"), outcomes),
        ]
    )
