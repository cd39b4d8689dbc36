"""Kinds: what the inputs of jobs of one kind must look like."""

from __future__ import annotations

from typing import Annotated

import msgspec

from roost.domain.names import Name
from roost.wire.codec import Wire
from roost.wire.jobs import Json


class KindRef(Wire, kw_only=True):
    name: Name = ""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class PutKind(KindRef, kw_only=True):
    """Give a kind a JSON Schema: inputs that do not fit are refused from then on, before anything is stored.

    Jobs that are stored already are not looked at again. References stay inside the schema.
    """

    schema: Json


class KindSchema(Wire, kw_only=True):
    """A kind and its schema."""

    name: str
    schema: Json
    changed_at: str
    changed_by: str | None = None


class KindSchemas(Wire, kw_only=True):
    """Every kind that has a schema."""

    kinds: list[KindSchema]
