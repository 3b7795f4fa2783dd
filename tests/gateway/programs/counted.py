"""``modelbay``, which prints how many tasks its loop has whenever SIGUSR1 comes."""

import asyncio
import signal

from modelbay_cli import main


def tell(*_: object) -> None:
    print(len(asyncio.all_tasks()), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    main()
