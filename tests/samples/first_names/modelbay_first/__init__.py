"""First for modelbay."""
