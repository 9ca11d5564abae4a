"""Results on stdout: tables for people, JSON or YAML for programs."""

from retrofit.cli.render.diff import show_diff
from retrofit.cli.render.images import (
    show_built,
    show_choice,
    show_image,
    show_images,
    show_retirement,
    show_verdict,
)
from retrofit.cli.render.runs import (
    show_cancelled,
    show_history,
    show_pauses,
    show_plans,
    show_reports,
    show_run,
    show_status,
)
from retrofit.cli.render.settings import show_settings

__all__ = [
    "show_built",
    "show_cancelled",
    "show_choice",
    "show_diff",
    "show_history",
    "show_image",
    "show_images",
    "show_pauses",
    "show_plans",
    "show_reports",
    "show_retirement",
    "show_run",
    "show_settings",
    "show_status",
    "show_verdict",
]
