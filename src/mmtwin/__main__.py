"""`python -m mmtwin`."""

import sys

from mmtwin.cli.main import main

sys.exit(main())
