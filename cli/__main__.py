"""`python -m cli` is `carot`."""

from cli.main import main

main()
