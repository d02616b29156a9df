import sys
from pathlib import Path

# the benchmarks are scripts, not a package: their modules import each other as a script run from there does
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
