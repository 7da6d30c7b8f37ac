"""Workers that end by ``os._exit``: have them deliver before they do.

Celery's prefork pool and RQ end their processes so, and neither atexit nor finalizers run there.
Nothing that a journal holds is lost by that: the next process, or ``journal watch``, delivers it.
With these helpers the worker itself does, at a normal end, and then ``durability="memory"`` is
safe there too. Neither Celery nor RQ is needed to import this module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from receipt_dynamo.data.delivery.lifecycle import EXIT_TIMEOUT, close_all, flush_all

if TYPE_CHECKING:
    RqWorker: type[Any]


def deliver_at_end_of_celery_workers(timeout: float = EXIT_TIMEOUT) -> None:
    """Have each process of Celery's prefork pool deliver when it is recycled or shut down.

    Call it in the module that makes the Celery app.

    Args:
        timeout: Seconds to wait for pending records, at most.

    Raises:
        ModuleNotFoundError: Celery is not installed.
    """
    signals: Any = importlib.import_module("celery.signals")

    def deliver(**_: object) -> None:
        close_all(timeout)

    # Not weakly: nobody else keeps the function.
    signals.worker_process_shutdown.connect(
        deliver, weak=False, dispatch_uid="receipt_dynamo.workers"
    )


def __getattr__(name: str) -> Any:
    """Make ``RqWorker``: ``rq worker --worker-class receipt_dynamo.workers.RqWorker``."""
    if name != "RqWorker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    worker: Any = importlib.import_module("rq").Worker

    class RqWorker(worker):  # type: ignore[misc]
        """RQ's worker, whose jobs deliver what they have put before their process ends."""

        def perform_job(self, *args: Any, **kwargs: Any) -> bool:
            """Perform a job, and then wait 10 s at most for what it put."""
            try:
                done: bool = super().perform_job(*args, **kwargs)
            finally:
                (close_all if self.is_horse else flush_all)(EXIT_TIMEOUT)
            return done

    globals()[name] = RqWorker
    return RqWorker
