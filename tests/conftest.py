"""Fixtures for all tests: the real counterparts come from the `harness` package. Settings of the property tests.

`SHIPPER_EXAMPLES`: how many each of these tries that does not say so itself (`make soak`).
"""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["harness.fixtures", "together", "workers"]

# No timing decides a test: other programs work on the machine as well. In CI the same examples are run each time.
settings.register_profile(
    "shipper",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    max_examples=int(os.environ.get("SHIPPER_EXAMPLES", "100")),
    print_blob=True,
)
settings.load_profile("shipper")
