"""From an accepted record to a row that DynamoDB has confirmed."""
