"""Octavia on SQLite; imported before anything of Octavia asks its database."""

import sqlite_writers
from octavia.common import config  # noqa: F401  (registers the options)
from oslo_config import cfg

# Octavia sets ten seconds, which SQLAlchemy refuses for a file; a configuration cannot say none.
cfg.CONF.set_default("pool_timeout", None, group="database")
sqlite_writers.wait_for_each_other()
