"""The web page: its files, and how a browser gets them."""
