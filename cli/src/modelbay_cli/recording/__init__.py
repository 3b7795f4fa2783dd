"""What `modelbay record` and `modelbay replay` have in common: a program and its providers."""
