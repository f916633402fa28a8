"""One Core for the process: engines that come and go in any order leave signals harmless."""

import os
import subprocess
import sys
from pathlib import Path

from engines.backends.openvino_core import openvino_core

PROGRAM = """
import signal, engines
first = engines.load("tiny-yolo", engines.Options(precision="fp32"))
second = engines.load("tiny-yolo", engines.Options(precision="fp32", requests=1))
first.close(); del first
second.close(); del second
import gc; gc.collect()
signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts in the background ignores it
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_there_is_one_core():
    assert openvino_core() is openvino_core()


def test_a_signal_after_engines_came_and_went_is_an_interrupt():
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=where, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr


def test_the_import_of_openvino_tells_nobody(tmp_path: Path):
    told = tmp_path / "told"
    package = tmp_path / "openvino_telemetry"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(told)!r}, 'w').close()\n")
    code = """
import sys, threading
import engines.backends.openvino
from engines.backends.openvino_core import openvino
assert openvino.get_version() and "openvino_telemetry" not in sys.modules, sys.modules
assert threading.active_count() == 1, threading.enumerate()
"""
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not told.exists()
    subprocess.run([sys.executable, "-c", "import openvino_telemetry"], env=environment, check=True)
    assert told.exists()
