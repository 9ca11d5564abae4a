"""The operating system: processes, signals, files of others, time limits, shortages."""
