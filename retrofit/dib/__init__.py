"""Turn a source disk and a recipe into an amphora image with diskimage-builder."""
