"""Find the damage of a journal, and read its whole records."""
