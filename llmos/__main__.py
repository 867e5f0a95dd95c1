"""``python -m llmos``, and the command ``llmos``: the least there can be until Ctrl-C is heard."""

import sys

__all__ = ["main"]


def main() -> None:
    """The ``llmos`` command. Ctrl-C while it is still being loaded is as silent as later."""
    try:
        from llmos.cli import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
