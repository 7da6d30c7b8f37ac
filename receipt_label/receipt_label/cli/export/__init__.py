"""`receipt-usage export`: the rows themselves, as a file."""
