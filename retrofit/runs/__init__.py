"""What runs leave behind on this machine: reports, logs, history, failures, pauses."""
