"""A machine, a disk and a DynamoDB that are simulated: no threads, sockets or passing time."""
