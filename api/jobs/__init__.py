"""Jobs: submitting, checking, following, pausing and cancelling them."""
