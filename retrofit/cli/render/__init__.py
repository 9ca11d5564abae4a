"""stdout is the answer: tables for people, JSON or YAML for programs."""

from retrofit.render.images import (
    show_built,
    show_image,
    show_images,
    show_retirement,
    show_verdict,
)
from retrofit.render.runs import (
    plan_as_dict,
    show_history,
    show_pauses,
    show_plans,
    show_reports,
    show_run,
    show_status,
)
from retrofit.render.settings import show_settings

__all__ = [
    "plan_as_dict",
    "show_built",
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
