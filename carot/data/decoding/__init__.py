"""From bytes to images, in confined child processes."""
