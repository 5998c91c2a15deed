"""Run the command line: `python -m ckptparse` is the same as `ckptparse`."""

import sys

from ckptparse.commands import main

sys.exit(main())
