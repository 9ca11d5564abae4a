"""Keep OpenStack Octavia's amphora image up to date."""

__version__ = "0.2.0"
