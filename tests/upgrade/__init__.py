"""What 0.1.0 left, read by this version, and the way back: both releases do the work."""
