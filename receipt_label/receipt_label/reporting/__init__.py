"""What the calls cost, by whom and when: ``receipt-usage report`` and ``receipt-usage export``."""
