"""Fixtures of the fault tests: those of the integration tests."""

from tests.integration.conftest import image_manager, stage

__all__ = ["image_manager", "stage"]
