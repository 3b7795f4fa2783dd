"""Lists that are too old are renewed behind the command that showed them."""

import os
import subprocess
import sys
import time
from pathlib import Path

LOCK = "renewing"
LOCK_S = 60.0  # a renewal ends within the largest probe limit; an older lock is a dead one's


def renew_later(cache: Path) -> bool:
    """Start one program that asks every provider anew and ends; ``False`` if one is at it.

    It belongs to nobody: it has no terminal, and outlives the command that started it.
    """
    if not _take(cache / LOCK):
        return False
    subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "modelbay_cli.renewal", str(cache)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=True,
    )
    return True


def _take(lock: Path) -> bool:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return _take_over(lock)
    except OSError:
        return False  # where nothing can be written nothing can be renewed
    return True


def _take_over(lock: Path) -> bool:
    try:
        if time.time() - lock.stat().st_mtime < LOCK_S:
            return False
        lock.unlink()
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        return False  # somebody else was quicker
    return True


def main(cache: str) -> None:
    """Look at every provider, which leaves the lists in the cache; then give the lock back."""
    import asyncio

    from modelbay import Host

    async def look() -> None:
        async with Host.open(cache=True) as host:
            await host.refresh(force=True)

    try:
        asyncio.run(look())
    finally:
        (Path(cache) / LOCK).unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
