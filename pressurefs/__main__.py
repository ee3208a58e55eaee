"""``python -m pressurefs``."""

import sys

from pressurefs.cli import main

sys.exit(main())
