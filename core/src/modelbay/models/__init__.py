"""The public types. Frozen Pydantic models; the stream's events are slotted dataclasses."""
