"""What the database knows about all jobs and models together."""
