"""Whether confidences still hold, from labels as they come."""
