"""Read Glance, Octavia, mirrors and our own records; nothing is changed."""
