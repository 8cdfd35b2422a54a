"""The trainer, its losses, teachers and methods."""
