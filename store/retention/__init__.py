"""What is deleted, by request or by age."""
