"""DeepSeek for modelbay."""
