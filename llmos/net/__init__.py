"""The one way to the network: every address checked, every answer bounded, every request logged."""
