"""The tool door: from a folder with ``tool.toml`` and typed functions to calls that run."""
