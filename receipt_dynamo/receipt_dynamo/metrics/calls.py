"""The labels of a call's figures: what is safe and few enough to be one."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final, TypeAlias

from receipt_dynamo.metrics.measures import (
    ENVIRONMENT,
    ERROR,
    MODEL,
    OPERATION,
    OPERATIONS,
    OTHER,
    SERVICE,
)
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child

if TYPE_CHECKING:
    from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric

Labels: TypeAlias = tuple[tuple[str, str], ...]

MAX_LABEL_SETS: Final = 1_000
"""Different label sets of one process. A server may name a new model in each reply; what is
beyond the bound is counted under the model, operation and environment ``_OTHER``."""

_ERROR_TYPE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")


class CallLabels:
    """Gives a call its labels, and keeps their number bounded. Thread-safe.

    User, job, batch and request are never among them: each value would make a new time series.

    Args:
        most: Different label sets, at most.
    """

    def __init__(self, most: int = MAX_LABEL_SETS) -> None:
        self._most = most
        self.reset_after_fork()
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Begin with none in a forked child, and with a lock that is free."""
        self._lock = threading.Lock()
        self._known: set[Labels] = set()

    def choose(self, metric: AIUsageMetric) -> Labels:
        """Return the labels of a call: service, operation, model, environment, error type."""
        notice_fork()
        labels = _read_labels(metric)
        with self._lock:
            if labels in self._known:
                return labels
            if len(self._known) < self._most:
                self._known.add(labels)
                return labels
        return tuple((name, value if name == SERVICE else OTHER) for name, value in labels)


def _read_labels(metric: AIUsageMetric) -> Labels:
    labels = [
        (SERVICE, metric.service),
        (OPERATION, OPERATIONS.get(metric.operation, metric.operation)),
        (MODEL, metric.model),
    ]
    if metric.environment is not None:
        labels.append((ENVIRONMENT, metric.environment))
    if metric.error is not None:
        labels.append((ERROR, _read_error_type(metric.error)))
    return tuple(labels)


def _read_error_type(error: str) -> str:
    """Return the error's type where the text begins with one, as that of a watched call does."""
    name = error.partition(":")[0]
    return name if _ERROR_TYPE.fullmatch(name) else OTHER
