"""The records that the tables hold, and their DynamoDB form."""
