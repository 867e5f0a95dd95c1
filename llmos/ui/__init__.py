"""The terminal: a Textual app that shows one kernel's conversations.

It runs in an operating-system process of its own and knows the kernel only through
``llmos.client`` and the events of ``llmos.events``. ``app.LlmosApp`` is the way in; nothing is
imported here, so that ``llmos`` commands without a screen never load Textual.
"""

from __future__ import annotations

__all__: list[str] = []
