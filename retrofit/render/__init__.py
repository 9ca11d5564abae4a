"""stdout is the answer: tables for people, JSON or YAML for programs."""

from retrofit.render.images import show_built, show_images, show_verdict
from retrofit.render.runs import plan_as_dict, show_plans, show_reports, show_status
from retrofit.render.settings import show_settings

__all__ = [
    "plan_as_dict",
    "show_built",
    "show_images",
    "show_plans",
    "show_reports",
    "show_settings",
    "show_status",
    "show_verdict",
]
