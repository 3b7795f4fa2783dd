"""I/O for plugins: one seam for HTTP, and a whole OpenAI-style client over it."""
