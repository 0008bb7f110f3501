"""The boot daemon's process."""

import sys

from kernel.boot.daemon import main

sys.exit(main())
