"""The jail of this machine, or a skip that says what is missing."""

from __future__ import annotations

import pytest

from llmos.errors import SandboxMissing
from llmos.sandbox import tiers
from llmos.sandbox.jail import Jail


async def jail() -> Jail:
    """The strongest tier; a test that needs one is skipped where there is none."""
    try:
        return await tiers.best()
    except SandboxMissing as error:
        pytest.skip(str(error))
