"""SIGKILL at each step of delivery, under each fault: nothing accepted is lost or doubled."""
