"""Tiny GGUF models, from where the embedded engine's own plugin makes them."""

from modelbay_embedded.testing.tiny_gguf import (
    TEMPLATES,
    cut,
    write_tiny_gguf,
    write_tiny_projector,
)

__all__ = ["TEMPLATES", "cut", "write_tiny_gguf", "write_tiny_projector"]
