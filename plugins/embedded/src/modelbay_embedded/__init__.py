"""Runs GGUF files through llama.cpp, in a child process of its own per loaded model."""
