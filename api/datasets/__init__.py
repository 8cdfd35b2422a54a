"""Data sets: uploads, their images, pictures of these."""
