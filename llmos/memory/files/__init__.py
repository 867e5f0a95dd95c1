"""Files as disk: folders that a person mounted, read into passages and followed as they change.

``walk`` says which files of a folder count, ``mounts`` keeps what was read of them
(``llmos.documents``) in step with what is there, ``follow`` says when to look. None of them knows
how passages are indexed or searched.
"""

from __future__ import annotations

__all__: list[str] = []
