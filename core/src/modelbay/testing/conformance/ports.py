"""An address where nobody answers."""

import socket


def dead_url() -> str:
    """On a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
