"""Fit the chooser to the tools that come with llmos, for the file that ships: ``make fit``.

It takes a minute that nobody should have to wait for with their first question. To be done
whenever a tool's questions, or the bank of ordinary turns, changed; ``test_choices.py`` says when.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from llmos.boot import syscall_table
from llmos.kernel.choose import fit
from llmos.kernel.guide import FITTED, chat_bank
from llmos.kernel.kernel import Kernel
from llmos.memory import embedders


def main() -> None:
    """Write the file."""

    def kernel() -> Kernel:
        raise AssertionError("no call is made")

    calls = syscall_table(kernel)[0].rows()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "fit" / "chooser.npz"  # its folder becomes private
        fit(calls, embedders.starter().embed, chat_bank(), made)
        shutil.copyfile(made, FITTED)


if __name__ == "__main__":
    main()
