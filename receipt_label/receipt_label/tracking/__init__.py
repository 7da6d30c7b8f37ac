"""Business layer."""
