"""The boots: the image in virtual machines, used as Octavia uses it."""

from __future__ import annotations

from retrofit.verify.boot.boots import boot

__all__ = ["boot"]
