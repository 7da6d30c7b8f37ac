"""How a call is seen: hooks on clients, responses and decorated functions."""
