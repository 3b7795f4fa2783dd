"""The object an embedder holds, and everything it owns."""
