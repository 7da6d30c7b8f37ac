"""Errors of receipt_label's own; they share the one base of receipt_dynamo."""

from __future__ import annotations

from receipt_dynamo import ReceiptDynamoError


class ConfigurationError(ReceiptDynamoError, ValueError):
    """A setting cannot be used; the message names it, its value and what is accepted."""


class MissingPackageError(ReceiptDynamoError, ImportError):
    """A provider's package is not installed; the message says how to install it."""
