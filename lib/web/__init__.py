"""What is plain HTTP: headers and hosts, /healthz, the log's redaction."""
