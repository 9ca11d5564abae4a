"""A signed package archive of the tests' own, and images that were made of it."""
