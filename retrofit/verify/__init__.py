"""Prove that an image is an amphora: the offline contract, and the boot."""

from __future__ import annotations

from retrofit.verify.verdict import verify

__all__ = ["verify"]
