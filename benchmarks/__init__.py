"""What modelbay costs, as ratios between cases that take turns in one run.

`python -m benchmarks` prints a table. An absolute time from these machines means nothing a minute
later, so each figure is the median of the per-round ratios, with the smallest and the largest.
"""
