"""The image against the control plane that it will meet."""
