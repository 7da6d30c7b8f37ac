"""Know what every AI call cost, for whom and why: usage records of AI calls."""
