"""What we use of prometheus_client: metrics, their registry, the process collector; not its servers and push gateway.

The package's `__init__` imports those whatever is asked for, and with them an HTTP server, TLS and e-mail: 8 MB of a
daemon that has its own server. So its modules are imported here as if the package had none. Whoever imports the package
itself later gets it whole, with the same modules in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec

_PACKAGE = "prometheus_client"


@contextmanager
def _package_as_a_folder() -> Iterator[None]:
    """Within, modules of the package are found, and it is not run; nothing changes if somebody has it whole already."""
    spec = find_spec(_PACKAGE)
    if _PACKAGE in sys.modules or spec is None:
        yield
        return
    sys.modules[_PACKAGE] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[_PACKAGE]


with _package_as_a_folder():
    from prometheus_client.metrics import Counter, Gauge, Histogram
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.process_collector import ProcessCollector
    from prometheus_client.registry import Collector, CollectorRegistry

__all__ = [
    "Collector",
    "CollectorRegistry",
    "Counter",
    "Gauge",
    "GaugeMetricFamily",
    "Histogram",
    "Metric",
    "ProcessCollector",
]
