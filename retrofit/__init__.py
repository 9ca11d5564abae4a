"""Keep the image that OpenStack Octavia starts its load balancers from current."""

__version__ = "0.1.0"
