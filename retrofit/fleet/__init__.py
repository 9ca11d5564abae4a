"""What amphorae run on, and in which order to move them; pure."""
