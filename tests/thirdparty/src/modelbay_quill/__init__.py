"""Quill for modelbay."""
