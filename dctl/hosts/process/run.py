"""What supervisord starts: `run.py shim STATE NAME` or `run.py keeper STATE`.

Run with -I -S, so nothing of the user's environment or site-packages is looked at (which would
cost more than all the rest), and dctl's own place is put on the path here.
"""

import os
import sys

if __name__ == "__main__":
    here = os.path.abspath(__file__)
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(here)))))
    if sys.argv[1] == "shim":
        from dctl.hosts.process.shim import main
    else:
        from dctl.hosts.process.keeper import main
    main(sys.argv[2:])
