"""A simulated machine, disk and DynamoDB: no threads, no sockets, and no time that passes."""
