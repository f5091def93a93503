"""What one ``with`` block on the database holds, on either engine: a turn, a connection, a transaction."""
