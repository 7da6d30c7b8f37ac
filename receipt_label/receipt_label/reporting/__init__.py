"""The sums of a report: its question, and the costs of the calls by user, day and the like."""
