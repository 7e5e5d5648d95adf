"""What the strings below a class's attributes say.

pydantic reads them, too, but whenever a class is made, which is a fifth of the time that a process takes to start.
Here they are read when somebody asks for a description.
"""

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Mapping


@functools.cache
def attribute_docstrings(described: type) -> Mapping[str, str]:
    """Find what a class and those that it stems from say of their attributes, by name; nothing without their source."""
    found: dict[str, str] = {}
    for kind in reversed(described.__mro__):
        if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
            found |= _below(ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0])
    return found


def _below(node: ast.stmt) -> dict[str, str]:
    body = node.body if isinstance(node, ast.ClassDef) else []
    return {
        attribute.target.id: inspect.cleandoc(text.value.value)
        for attribute, text in itertools.pairwise(body)
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
