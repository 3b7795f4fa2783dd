"""llama.cpp's own server behind modelbay: one model, or a router with many."""
