"""Run the named benchmarks, or the main one: `python -m benchmarks pipeline overlay`, `... live latency`.

What follows the last name are its own words and options.
"""

import runpy
import sys
from itertools import takewhile
from pathlib import Path

known = {path.stem for path in Path(__file__).parent.glob("[!_]*.py")}
names = list(takewhile(known.__contains__, sys.argv[1:]))
words = sys.argv[1 + len(names) :]
if words and not names:
    sys.exit(f"benchmarks: {words[0]}: no such benchmark, there are {', '.join(sorted(known))}")
for name in names or ["pipeline"]:
    sys.argv[1:] = words
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
