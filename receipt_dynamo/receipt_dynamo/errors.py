"""The one base of every error that receipt_dynamo raises by itself."""


class ReceiptDynamoError(Exception):
    """Base of the package's own errors; catch it to catch them all.

    Bad arguments are reported with the built-in ``ValueError`` and ``TypeError``
    instead, as Python users expect.
    """
