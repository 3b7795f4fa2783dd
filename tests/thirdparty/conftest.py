"""The tests run from a checkout as well as against an installed Quill."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))
