"""``python -m modelbay_cli``."""

import sys

from modelbay_cli import main

sys.exit(main())
