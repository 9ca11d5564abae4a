"""The development cloud: Keystone and Glance on loopback, stock images, their mirror."""
