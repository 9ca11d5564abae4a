"""Which load balancers to move to the promoted image, when, and when to stop; pure."""
