"""Implicit features: what a lead did, measured in one pass over its events.

`families.py` says which features there are, `program.py` turns them into arrays, `events.py` delivers the
events of some leads in order, and `kernel.py` measures. Training, scoring and the rules share all of it.
"""
