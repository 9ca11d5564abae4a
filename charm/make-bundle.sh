#!/bin/bash
# Make the resource retrofit-bundle: retrofit and its dependencies as wheels for the charm's base.
# Usage: charm/make-bundle.sh [OUTPUT]. Needs pip and uv; PYTHON_VERSION and ARCHITECTURE select
# another base.
set -eu
set -o pipefail

cd "$(dirname "$0")/.."
output=$(realpath -m "${1:-charm/retrofit-bundle.tar.gz}")
version=${PYTHON_VERSION:-3.12} # of ubuntu@24.04, as charmcraft.yaml has it
architecture=${ARCHITECTURE:-$(uname -m)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Only the lines for the charm's base: pip would select them by the Python that it runs on.
"${UV:-uv}" pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --python-version "$version" \
    --python-platform "$architecture-manylinux_2_28" \
    requirements/run.txt --output-file "$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
    --only-binary=:all: --implementation cp --python-version "$version" \
    --platform "manylinux_2_28_$architecture" --platform "manylinux2014_$architecture" \
    --requirement "$work/requirements.txt" --dest "$work/wheels"
python3 -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/wheels" .
mkdir -p "$(dirname "$output")"
# The same content makes the same bytes: a unit installs only a bundle that differs from its own.
tar --create --gzip --file "$output" --directory "$work" \
    --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner requirements.txt wheels
echo "$output"
