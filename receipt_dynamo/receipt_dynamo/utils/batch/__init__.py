"""The parts of BatchQueue."""
