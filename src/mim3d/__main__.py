"""`python -m mim3d`: the command, where the folder of installed programs is not on the path."""

import sys

from mim3d.cli import main

sys.exit(main())
