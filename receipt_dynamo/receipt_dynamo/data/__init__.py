"""The parts of delivery: from an accepted record to a proven row, and back by query."""
