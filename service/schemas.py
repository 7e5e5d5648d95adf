"""Base classes of request and response models, and the docstrings of their fields.

Pydantic can read the docstrings of fields as well, but does so when a class is created, which takes a fifth of the
start-up time of a process. Here they are read when a JSON Schema is generated.
"""

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

MAX_VERSION = 2**31 - 1


@functools.cache
def attribute_docstrings(documented: type) -> Mapping[str, str]:
    """Return the docstrings below the attributes of a class and its bases, by name; empty without the source."""
    docstrings: dict[str, str] = {}
    for kind in reversed(documented.__mro__):
        if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
            docstrings |= _docstrings(ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0])
    return docstrings


def _docstrings(node: ast.stmt) -> dict[str, str]:
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


class DocumentedModel(BaseModel):
    """A model whose JSON Schema contains the docstrings of its fields."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the docstrings to the schema."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in attribute_docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema


class RequestModel(DocumentedModel):
    """A request body. Unknown fields and values of another type are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ResponseModel(DocumentedModel):
    """A response body."""
