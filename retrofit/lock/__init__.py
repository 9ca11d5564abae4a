"""One run of a target at a time: the lock, its lease on shared servers, the fence before writes."""
