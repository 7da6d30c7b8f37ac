"""DynamoDB data layer for AI usage records, with the resilience patterns that deliver them."""
