"""From a verified file to an image that Octavia finds: properties, upload, rotation."""
