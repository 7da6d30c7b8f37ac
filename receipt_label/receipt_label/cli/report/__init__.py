"""`receipt-usage report`: the sums, on a terminal, as a page and as a document."""
