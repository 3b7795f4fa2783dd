"""The Ollama surface: its programs see every provider's models, and chat with them."""
