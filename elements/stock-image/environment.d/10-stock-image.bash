# diskimage-builder takes Debian's python for a python2 otherwise.
export DIB_PYTHON_VERSION=${DIB_PYTHON_VERSION:-3}

# Ubuntu's needrestart would look for services to restart after each package.
export NEEDRESTART_SUSPEND=1
