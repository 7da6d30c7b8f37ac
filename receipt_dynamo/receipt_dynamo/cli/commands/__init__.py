"""Commands for those who run a service: what its journals hold, and what to do about it."""
