"""llama-swap for modelbay. Read plugin.py first."""
