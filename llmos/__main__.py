"""``python -m llmos``."""

from llmos.cli import main

if __name__ == "__main__":
    main()
