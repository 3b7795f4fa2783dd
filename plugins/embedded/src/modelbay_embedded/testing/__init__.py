"""Tiny models to test with; needs the extra ``modelbay-embedded[testing]``."""
