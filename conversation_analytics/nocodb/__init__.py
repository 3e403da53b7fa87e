"""The NocoDB source: HTTP client, discovery of tables and columns, window reader."""
