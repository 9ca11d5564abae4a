"""The code that runs inside disk-image-create; it imports nothing of retrofit.build."""
