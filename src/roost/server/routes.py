"""From the API's table to routes: which operation a request means, and its fields from path, query string and body."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, get_type_hints
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import inspect

from roost.errors import HeadersTooLarge, InvalidRequest, MethodNotAllowed, NotFound
from roost.wire.attempts import Heartbeat
from roost.wire.codec import Wire, convert
from roost.wire.codec import decode as decode_json
from roost.wire.contract import DELIVER_OUTBOX, ENQUEUE_MANY, OPERATIONS, PREFIX, SETTLE, Operation
from roost.wire.receiving import RECEIVED
from roost.wire.strict import check_body, check_bulk
from roost.wire.webhooks import ReceiveWebhook

QUERY_BYTES = 8 * 1024
_BULK = (ENQUEUE_MANY.request, SETTLE.request, DELIVER_OUTBOX.request, Heartbeat)
_SEE_DOCS = "see /docs for the parameters of this call"


class Route:
    """One operation as HTTP: takes a request's raw parts, gives its request object."""

    def __init__(self, operation: Operation[Wire, Wire]) -> None:
        self.operation = operation
        self.is_foreign = operation.request is ReceiveWebhook
        """Its body is a sender's, taken as it comes."""
        self.has_body = operation.method in ("POST", "PUT")
        self.waits = "wait" in operation.request.__struct_fields__
        self._request = operation.request
        self._check = check_bulk if issubclass(operation.request, _BULK) else check_body
        self._path_fields = _typed(operation) if operation.path_fields else []
        self._in_path = frozenset(operation.path_fields)
        # Looked at in query strings alone; to learn the types of every body would make a start late.
        in_query = {} if self.has_body and not self.is_foreign else field_types(operation.request)
        self._lists = frozenset(name for name, kind in in_query.items() if _is_list(kind))

    def from_body(self, body: bytes, parts: tuple[bytes, ...]) -> Wire:
        """The request of a POST or PUT; raises `InvalidJson` and `InvalidRequest`."""
        if body:
            self._check(body)
            request = decode_json(body, self._request)
        else:
            request = decode_json(b"{}", self._request)
        for (name, kind, default), part in zip(self._path_fields, parts, strict=True):
            value = self._path_value(name, kind, part)
            given = getattr(request, name)
            if given not in (default, value):
                raise InvalidRequest(
                    "the body says otherwise than the path", path=name, help="leave it out of the body"
                )
            setattr(request, name, value)
        return request

    def from_query(self, query: bytes, parts: tuple[bytes, ...]) -> Wire:
        """The request of a GET or DELETE; lists come by repetition or with commas. Raises `InvalidRequest`."""
        fields: dict[str, Any] = {}
        if query:
            for name, value in _pairs(query):
                if name in self._in_path:
                    raise InvalidRequest("this parameter belongs to the path", path=name, help=_SEE_DOCS)
                if name in self._lists:
                    fields.setdefault(name, []).extend(value.split(","))
                elif name in fields:
                    raise InvalidRequest("the parameter is given twice", path=name, help="give it once")
                else:
                    fields[name] = value
        for (name, kind, _), part in zip(self._path_fields, parts, strict=True):
            fields[name] = self._path_value(name, kind, part)
        return convert(fields, self._request)

    def from_sender(
        self, query: bytes, parts: tuple[bytes, ...], headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Wire:
        """The request of a webhook: its own fields in path and query, all else is the sender's."""
        request = self.from_query(query, parts)
        for field, value in (("headers", {}), ("body", b"")):
            if getattr(request, field) != value:
                raise InvalidRequest("this is no parameter", path=field, help=_SEE_DOCS)
        read = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        return msgspec.structs.replace(request, headers=read, body=body)

    def _path_value(self, name: str, kind: Any, part: bytes) -> Any:
        try:
            return convert(_text(part, name), kind)
        except InvalidRequest as error:
            error.path = name
            raise


class Router:
    """All routes; a path is looked up as it was sent, so that ``%2F`` in a name is no separator."""

    def __init__(self) -> None:
        self._exact: dict[bytes, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for operation in (*OPERATIONS, *RECEIVED):
            path = PREFIX + operation.path
            table = (
                patterns.setdefault(path, {}) if operation.path_fields else self._exact.setdefault(path.encode(), {})
            )
            table[operation.method] = Route(operation)
        # schedules/preview is no schedule's name for POST, but it may be one for GET: exact paths go first, per method
        self._patterns = [
            (re.compile(re.sub(r"{\w+}", "([^/]+)", path).encode()), methods) for path, methods in patterns.items()
        ]

    def find(self, method: str, path: bytes) -> tuple[Route, tuple[bytes, ...]]:
        """The route and the path's variable parts; raises `NotFound` and `MethodNotAllowed`."""
        exact = self._exact.get(path)
        if exact is not None and (route := exact.get(method)) is not None:
            return route, ()
        for pattern, methods in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None and (route := methods.get(method)) is not None:
                return route, found.groups()
        allowed = self.methods(path)
        if not allowed:
            raise NotFound("there is no such path", help="see /docs for the paths of the API")
        raise MethodNotAllowed(f"the path takes {', '.join(allowed)}", help="see /docs for the paths of the API")

    def methods(self, path: bytes) -> list[str]:
        """The methods that ``path`` takes; empty where there is no such path."""
        allowed = set(self._exact.get(path, ()))
        for pattern, methods in self._patterns:
            if pattern.fullmatch(path):
                allowed.update(methods)
        if "GET" in allowed:
            allowed.add("HEAD")
        return sorted(allowed)


@cache
def router() -> Router:
    """All routes, which are the same for every application."""
    return Router()


def _typed(operation: Operation[Wire, Wire]) -> list[tuple[str, Any, Any]]:
    """The fields of the path: name, type and default."""
    hints = get_type_hints(operation.request, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(operation.request)}
    return [(name, hints[name], defaults[name]) for name in operation.path_fields]


def field_types(request: type[Wire]) -> dict[str, inspect.Type]:
    """The types of a request's fields, by name."""
    info = inspect.type_info(request)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{request!r} is no request")
    return {field.name: field.type for field in info.fields}


def _is_list(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_is_list(part) for part in kind.types)
    return isinstance(kind, inspect.ListType)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    if len(query) > QUERY_BYTES:
        raise HeadersTooLarge("the query string is too long", help=f"at most {QUERY_BYTES:,} bytes")
    found = []
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            found.append((_text(name, ""), _text(value, name.decode("ascii", "replace"))))
    return found


def _text(part: bytes, path: str) -> str:
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise InvalidRequest("not UTF-8", path=path, help="escape the UTF-8 bytes of the text") from None
    if "\0" in text:
        raise InvalidRequest("the text holds a NUL character", path=path, help="leave it out")
    return text
