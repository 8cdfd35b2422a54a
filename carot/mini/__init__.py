"""carot-mini: a small CLIP for 32 x 32 digits, pre-trained by this package on rendered glyphs."""
