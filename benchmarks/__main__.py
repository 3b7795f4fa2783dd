"""`python -m benchmarks`: all figures in one run."""

from benchmarks import discovery, gateway, host, misbehaving, native, startup, stream
from benchmarks.measure import table


def main() -> None:
    parts = (startup, misbehaving, discovery, host, stream, native, gateway)
    print(table([found for part in parts for found in part.run()]))


if __name__ == "__main__":
    main()
