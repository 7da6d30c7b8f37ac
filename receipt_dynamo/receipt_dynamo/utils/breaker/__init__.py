"""The parts of CircuitBreaker."""
