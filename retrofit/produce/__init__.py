"""The long part of a run: from a source to a verified image in Glance, not yet promoted."""
