"""Measurements: `python -m benchmarks` runs them all and prints one report."""
