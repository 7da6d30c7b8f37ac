"""The table: its schema, how it is made and checked, and which table it is."""
