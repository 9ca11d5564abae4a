"""What a run needs, and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence

from retrofit.cli.form import Form
from retrofit.cli.render.form import enveloped, listed, structured
from retrofit.operations.doctor import DoctorDocument


def show_tries(documents: Sequence[DoctorDocument], output: Form | str) -> None:
    """Print what came of each try: a line each, with the way out."""
    form = Form.of(output)
    if form.is_document:
        structured(enveloped([each.as_dict() for each in documents]), form)
        return
    usual = ["Try", "Outcome", "Seconds", "Found", "Way out"]
    listed(
        [
            {
                "Target": document.target,
                "Try": each.name,
                "Outcome": each.outcome,
                "Seconds": each.seconds,
                "Found": each.detail,
                "Way out": each.hint,
            }
            for document in documents
            for each in document.tries
        ],
        form,
        usual=usual if len(documents) == 1 else ["Target", *usual],
    )
