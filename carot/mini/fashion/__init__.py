"""carot-mini-fashion: a small CLIP of clothes, pre-trained on a web made of photographs."""
