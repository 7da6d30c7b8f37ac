"""Resilience patterns that know nothing of DynamoDB."""
