"""What perdure costs, measured beside a rival in one run.

`python -m benchmarks` (`make bench`) runs the order workflow: four trivial activities in sequence.
Every contender gets its own process and an empty directory for each round, the contenders take
turns within a round, and medians over the rounds are reported. Absolute figures move from machine
to machine; ratios from one run are what counts.
"""
