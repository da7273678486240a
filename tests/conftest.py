"""Set before torch is first imported: threads that sleep while they wait leave cores to other processes."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
