"""The AI providers: how their SDK clients are watched, and what their replies tell.

Nothing here imports a provider's package before a client of it is wrapped.
"""

from receipt_label.providers.google_places import wrap_places_client
from receipt_label.watching.clients import wrap_anthropic_client, wrap_openai_client

__all__ = ["wrap_anthropic_client", "wrap_openai_client", "wrap_places_client"]
