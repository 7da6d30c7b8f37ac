"""What the calls cost, by whom and when: the question and the sums."""
