"""The door for Juju: one process an action."""
