"""What comes from outside and means harm: refused with a reason, before it could do any."""
