"""Prove that an image is an amphora: the offline contract, and the boot."""
