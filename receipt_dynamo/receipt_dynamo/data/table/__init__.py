"""The table: its schema, how it is made, checked and told apart from others."""
