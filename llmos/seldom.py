"""A log that says the same at most once a minute, however often it happens.

What follows within the minute is dropped, not counted. Tracebacks always pass: they tell of
defects of our own.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

from llmos import limits

__all__ = ["Seldom"]


class Seldom(logging.Filter):
    """A filter for one logger: ``log.addFilter(Seldom())``."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._said: OrderedDict[str, float] = OrderedDict()  # when, oldest first

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.exc_info:
            return True
        line = record.getMessage()
        with self._lock:
            before = self._said.get(line)
            if before is not None and 0 <= record.created - before < limits.LOG_SAME_S:
                return False
            self._said[line] = record.created
            self._said.move_to_end(line)
            while len(self._said) > limits.LOG_LINES:
                self._said.popitem(last=False)
        return True
