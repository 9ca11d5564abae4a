"""What the package archive offers for an image that was built, asked of apt itself."""
