"""Bad days: what a data centre does to a run, and what has to be true afterwards."""
