"""``python -m llmos``, and the command ``llmos``: the least there can be until Ctrl-C is heard."""

import sys

__all__ = ["main"]


def main() -> None:
    """The ``llmos`` command. Ctrl-C is silent, also while it is still being loaded."""
    try:
        from llmos.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
