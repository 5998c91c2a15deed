"""`python -m ckptparse`: the same as the command `ckptparse`."""

import sys

from ckptparse.commands import main

sys.exit(main())
