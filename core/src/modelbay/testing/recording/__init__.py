"""Exchanges with a real server, written down without secrets, and served again."""

from modelbay.testing.recording.folder import ExchangeFolder, read_folder
from modelbay.testing.recording.form import (
    RecordedAnswer,
    RecordedBody,
    RecordedExchange,
    RecordedPiece,
    RecordedRequest,
)
from modelbay.testing.recording.recorder import Recorder
from modelbay.testing.recording.redaction import BLOT, Redaction
from modelbay.testing.recording.replay import Replay
from modelbay.testing.recording.replayer import Replayer
from modelbay.testing.recording.writing import write_test

__all__ = [
    "BLOT",
    "ExchangeFolder",
    "RecordedAnswer",
    "RecordedBody",
    "RecordedExchange",
    "RecordedPiece",
    "RecordedRequest",
    "Recorder",
    "Redaction",
    "Replay",
    "Replayer",
    "read_folder",
    "write_test",
]
