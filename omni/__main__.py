"""`python -m omni` is the `omni` command."""

import sys

from omni.cli import main

sys.exit(main())
