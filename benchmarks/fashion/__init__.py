"""Every method on photographs of clothes, with enough images and errors to tell them apart."""
