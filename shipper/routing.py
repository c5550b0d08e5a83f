"""The functions of expressions as a configuration has them: `route` knows the routes that are written down."""

from __future__ import annotations

from collections.abc import Mapping

from shipper.expressions import FUNCTIONS, Function, functions_with
from shipper.route import Router
from shipper.routepatterns import RoutePatterns
from shipper.settings import Settings


def functions_of(settings: Settings) -> Mapping[str, Function]:
    """All functions by name. Raises ConfigError if the OpenAPI file cannot be used."""
    patterns = list(settings.metrics.routes)
    if settings.metrics.openapi:
        from shipper.openapi import openapi_patterns  # YAML, for those who have such a file

        patterns += openapi_patterns(settings.metrics.openapi)
    if not patterns:
        return FUNCTIONS
    return functions_with(Router(patterns=RoutePatterns(patterns), is_complete=settings.metrics.routes_only))
