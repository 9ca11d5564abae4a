"""`python -m retrofit`: the command line, whatever directory its script was installed to."""

from retrofit.cli import main

main()
