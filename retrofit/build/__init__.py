"""From a source image and a recipe to an amphora image file, by diskimage-builder."""
