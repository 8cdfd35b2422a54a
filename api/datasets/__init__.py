"""Data sets: uploads, their images, thumbnails."""
