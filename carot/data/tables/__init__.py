"""Tables that name images and say what they show: read, understood, and their images found."""
