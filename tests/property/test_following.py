"""Files are written, rotated and destroyed in all ways and any order, while the daemon runs, stops, dies and stalls.

`harness.following` has the model. `SHIPPER_MODEL_RUNS=20000` makes a long run of it, with another seed each time; the
usual one repeats the same examples.
"""

from __future__ import annotations

import os

from harness.following import Following
from hypothesis import HealthCheck, Phase, settings

IS_LONG = "SHIPPER_MODEL_RUNS" in os.environ

Following.TestCase.settings = settings(
    max_examples=int(os.environ.get("SHIPPER_MODEL_RUNS", "200")),
    derandomize=not IS_LONG,
    stateful_step_count=30 if IS_LONG else 12,
    phases=list(Phase) if IS_LONG else [Phase.explicit, Phase.generate],
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestFollowing = Following.TestCase
