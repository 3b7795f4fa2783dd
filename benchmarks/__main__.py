"""`python -m benchmarks`: all figures in one run."""

from benchmarks import gateway, host, native, startup, stream
from benchmarks.measure import table


def main() -> None:
    print(table([*startup.run(), *host.run(), *stream.run(), *native.run(), *gateway.run()]))


if __name__ == "__main__":
    main()
