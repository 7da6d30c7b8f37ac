"""The parts of retry_with_backoff."""
