"""Models, captions, classifiers, and checkpoints of them."""
