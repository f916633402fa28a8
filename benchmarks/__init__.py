"""Measurements: `python -m benchmarks [NAME...]` from the root; timing has no place in tests."""
