"""Everything that outlives a process: tables, the job state machine, artifacts, settings."""
