"""Kinds with a schema: an input that does not fit is refused before anything is stored; other kinds pay one look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from roost.errors import InvalidRequest, SchemaMismatch

if TYPE_CHECKING:
    from jsonschema_rs import Validator

SCHEMA_LIMIT = 64 * 1024
"""Bytes of a schema."""
_MESSAGE_LIMIT = 300
_MORE = 3
"""Mismatches beside the first that a refusal tells."""


class Kinds:
    """A copy of the schemas of all kinds that have one, each compiled when it is first needed."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._compiled: dict[str, Validator] = {}

    def replace(self, schemas: dict[str, str]) -> None:
        """Take over what the store said; what did not change stays compiled."""
        if schemas == self._texts:
            return
        self._compiled = {
            kind: validator for kind, validator in self._compiled.items() if schemas.get(kind) == self._texts.get(kind)
        }
        self._texts = schemas

    def check(self, kind: str, text: str, path: str) -> None:
        """Raises `SchemaMismatch`, with the place inside the input, where the input's text does not fit its kind."""
        schema = self._texts.get(kind)
        if schema is None:
            return
        validator = self._compiled.get(kind)
        if validator is None:
            validator = self._compiled[kind] = compiled(schema, "schema")
        value = msgspec.json.decode(text)
        if validator.is_valid(value):
            return
        errors = []
        for error in validator.iter_errors(value):
            errors.append((_place(path, error.instance_path), error.message[:_MESSAGE_LIMIT]))
            if len(errors) > _MORE:
                break
        where, message = errors[0]
        rest = "; ".join(f"{place}: {words}" for place, words in errors[1:])
        raise SchemaMismatch(
            message, path=where, help=f"roost kinds show {kind} tells the schema" + (f"; also {rest}" if rest else "")
        )


def compiled(text: str, path: str) -> Validator:
    """The validator of a JSON Schema (draft 2020-12 where it does not say); raises `InvalidRequest`.

    References stay inside the schema: no file and no network is read. Patterns take time in proportion to the input.
    """
    # Loaded where a schema is: programs without any need none of it.
    import jsonschema_rs

    schema = msgspec.json.decode(text)
    try:
        return jsonschema_rs.validator_for(
            schema, validate_formats=True, offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        message = str(error).partition("\n")[0][:_MESSAGE_LIMIT]
        raise InvalidRequest(
            f"this is no JSON Schema: {message}", path=path, help="see https://json-schema.org; references stay inside"
        ) from None


def _place(path: str, inside: list[str | int]) -> str:
    for part in inside:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path
