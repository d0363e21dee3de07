"""``python -m workers.training.run``: see :mod:`workers.training.run.process`."""

from __future__ import annotations

import faulthandler
import sys

if __name__ == "__main__":
    # Before anything native loads: a SIGSEGV inside a library then leaves a Python traceback in the run's log.
    faulthandler.enable()
    from workers.training.run.process import main

    sys.exit(main())
