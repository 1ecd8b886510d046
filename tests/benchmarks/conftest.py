"""What benchmarks are made of is imported as their scripts do it: from their folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
