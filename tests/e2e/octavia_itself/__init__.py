"""Octavia itself on amphorae that run: its API, its flows, its drivers, our machines."""
