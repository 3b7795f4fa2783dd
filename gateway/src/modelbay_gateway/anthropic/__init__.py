"""The Anthropic surface: ``/v1/messages``, its token count, and the list of models."""
