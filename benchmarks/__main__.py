"""Run the named benchmarks, or the main one: `python -m benchmarks pipeline overlay`."""

import runpy
import sys

for name in sys.argv[1:] or ["pipeline"]:
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
