"""The retrofit: a stock disk and a recipe become an amphora image, by diskimage-builder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrofit.dib.recipe import Recipe, recipe_for
    from retrofit.dib.retrofit import build

__all__ = ["Recipe", "build", "recipe_for"]

_HOME = {"Recipe": "recipe", "recipe_for": "recipe", "build": "retrofit"}


def __getattr__(name: str) -> Any:
    # diskimage-builder loads the plugin of this package a dozen times a build, and needs none of
    # these.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
