"""Bytes in, events out: the protocols many servers share. Pure; no socket, no clock."""
