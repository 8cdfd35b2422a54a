"""Data sets, and files of the server that jobs may name."""
