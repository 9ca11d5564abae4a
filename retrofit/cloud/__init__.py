"""Keystone, Glance and Octavia; nothing outside this package imports their clients."""

from retrofit.cloud.errors import MissingImageError
from retrofit.cloud.glance import Glance, Removal

__all__ = ["Glance", "MissingImageError", "Removal"]
