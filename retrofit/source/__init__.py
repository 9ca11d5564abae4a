"""The choice of a source image, and the trust in its bytes; pure."""
