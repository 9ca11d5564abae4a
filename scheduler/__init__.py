"""Who asks for a run, and when."""
