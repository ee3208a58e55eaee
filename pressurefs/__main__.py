# SPDX-License-Identifier: MIT
"""``python -m pressurefs``."""

import sys

from pressurefs.cli.main import main

sys.exit(main())
