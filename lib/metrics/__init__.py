"""What a process counts and times, and where Prometheus reads it."""
