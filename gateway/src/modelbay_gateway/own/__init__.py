"""The gateway's own routes: catalogue, settings, conversations, management, events, metrics."""
