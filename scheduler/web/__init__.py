"""The status page, JSON, health and metrics of the worker over HTTP: to read, never to change."""

from scheduler.web.server import serving

__all__ = ["serving"]
