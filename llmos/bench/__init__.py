"""``llmos bench``: every figure llmos claims, measured on the machine it runs on."""
