"""What modelbay costs, as ratios between cases that take turns in one run.

`python -m benchmarks` prints a table. An absolute time from these machines means nothing a minute
later, so what counts is the median of the per-round ratios, with the smallest and the largest; the
costs beside the names show only how large things are.
"""
