"""The expression language of tags, drops and metric rules: text compiles once, to a function over columns.

`tokens` and `syntax` read the text into a `tree`, `functions` is the catalogue, `values` says what values mean,
`emitter` writes the code, `compiler` wraps it.
"""

from shipper.expressions.compiler import Multiple, Predicate, Value, compile_predicate, compile_value, with_status
from shipper.expressions.functions import FUNCTIONS, Function, functions_with
from shipper.expressions.tokens import calls_of, field_text
from shipper.expressions.values import Kind, has_value, label_text, number_of
from shipper.route import UNMATCHED

__all__ = [
    "FUNCTIONS",
    "UNMATCHED",
    "Function",
    "Kind",
    "Multiple",
    "Predicate",
    "Value",
    "calls_of",
    "compile_predicate",
    "compile_value",
    "field_text",
    "functions_with",
    "has_value",
    "label_text",
    "number_of",
    "with_status",
]
