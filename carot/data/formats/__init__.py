"""Data sets as people have them, each format opened as an image source."""
