"""The command `receipt-usage`."""
