"""Ollama behind modelbay, over its own native API."""
