"""Files that are closed while the process forks.

SQLite keeps its file locks in memory per process, and `fork` copies that memory but not the locks:
a child that opens the same file anew believes that it holds a lock which it does not hold. When its
parent closes the file, the log the child is still writing to is deleted, and the child's commits
are lost without an error (measured: docs/decisions/0005-state-store.md). So nothing may be open.
"""

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that must not be open while the process forks."""

    def before_fork(self) -> None:
        """Close, and stay closed until one of the others is called."""

    def after_fork_in_parent(self) -> None: ...

    def after_fork_in_child(self) -> None:
        """As in the parent; but no other thread is left here."""


class _Forks:
    """Everything that is watched in this process. One, since hooks cannot be taken back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held throughout a fork: one at a time, and no newcomers
        self._watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._closed: list[Forkable] = []
        self._is_registered = False

    def watch(self, item: Forkable) -> None:
        with self._lock:
            self._watched.add(item)
            if not self._is_registered and hasattr(os, "register_at_fork"):
                self._is_registered = True
                os.register_at_fork(
                    before=self._before,
                    after_in_parent=self._after_in_parent,
                    after_in_child=self._after_in_child,
                )

    def _before(self) -> None:
        self._lock.acquire()
        self._closed = list(self._watched)
        for item in self._closed:
            item.before_fork()

    def _after_in_parent(self) -> None:
        for item in self._closed:
            item.after_fork_in_parent()
        self._closed = []
        self._lock.release()

    def _after_in_child(self) -> None:
        for item in self._closed:
            item.after_fork_in_child()
        self._closed = []
        self._lock = threading.Lock()


_forks = _Forks()
watch = _forks.watch
