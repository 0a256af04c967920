"""`python -m mim3d`: the command, where its script is not on the path."""

import sys

from mim3d.cli import main

sys.exit(main())
