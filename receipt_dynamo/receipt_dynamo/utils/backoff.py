"""How long to wait before the next try: exponential, with full jitter. Pure.

The delay grows exponentially and is then drawn at random from zero to there, as in
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015: clients that failed
together must not come back together.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable


def backoff_delay(
    attempt: int,
    *,
    base_delay: float,
    max_delay: float,
    multiplier: float = 2.0,
    jitter: bool = True,
    random: Callable[[], float] = _random.random,
) -> float:
    """Return the seconds to wait after failed attempt number ``attempt`` (1 is the first)."""
    try:
        ceiling = min(max_delay, base_delay * multiplier ** (attempt - 1))
    except OverflowError:
        ceiling = max_delay if base_delay > 0 else 0.0
    return ceiling * random() if jitter else ceiling
