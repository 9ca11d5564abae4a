# diskimage-builder takes Debian's python for a python2 otherwise.
export DIB_PYTHON_VERSION=${DIB_PYTHON_VERSION:-3}
