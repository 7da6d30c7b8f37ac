"""`receipt-usage demo`: real SDK calls become rows of a real table, through an outage."""
