"""Configurations as Octavia's templates write them: HAProxy, LVS, keepalived.

Written by us; `tests/component/verify/test_configs.py` compares them with those of Octavia itself.
"""
