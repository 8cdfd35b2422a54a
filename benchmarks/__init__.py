"""One runnable file for each claim of speed or quality.

From a checkout that is installed (`make install`), `python benchmarks/NAME.py` and
`python -m benchmarks.NAME` are the same. Results that are quoted lie in `benchmarks/results/`.
"""
