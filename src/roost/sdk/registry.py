"""The kinds of jobs that a program knows, and the functions that handle them."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec

from roost.domain.names import check_name
from roost.errors import ConfigurationError, RoostError
from roost.sdk.signature import Signature
from roost.sdk.surroundings import Surroundings

R = TypeVar("R")

Isolation = Literal["none", "process"]


class Handler(Generic[R]):
    """A function under the name of its kind, with what its annotations say about JSON."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        kind: str | None = None,
        isolate: Isolation = "none",
        memory: int | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """``kind`` defaults to ``module.function``; ``memory`` in bytes is the most its own process may use.

        Raises `ConfigurationError` where the kind is no name, or memory is limited without a process of its own.
        """
        self.function = function
        self.memory = memory
        self.surroundings = surroundings or Surroundings()
        if memory is not None and isolate != "process":
            raise ConfigurationError(
                "a memory limit needs a process of its own", path="memory", help='add isolate="process"'
            )
        try:
            self.kind = check_name(kind or default_kind(function), "name")
        except RoostError as error:
            raise ConfigurationError(error.message, path=error.path, help=error.help) from None
        self.isolate: Isolation = isolate
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  # the method itself is asked about, not callability
        )

    @property
    def module(self) -> str:
        """The module to import the function from, in another process."""
        return module_name(self.function)

    @property
    def qualname(self) -> str:
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The function's parameters by name, known before its annotations can be read."""
        return tuple(inspect.signature(self.function).parameters)

    @cached_property
    def signature(self) -> Signature:
        """Read at first use, when the names in the annotations are all defined; raises `ConfigurationError`."""
        return Signature(self.function)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is around it and it depends on nothing: it is just called."""
        return not self.surroundings.middleware and not self.signature.dependencies

    def call(self, data: bytes | str | msgspec.Raw, context: object) -> tuple[list[Any], dict[str, Any]]:
        """The arguments to call ``function`` with for a job's input, the context among them where it asks for one."""
        signature = self.signature
        args, kwargs = signature.decode(data)
        if signature.injected is not None:
            kwargs[signature.injected] = context
        return args, kwargs

    def encode_result(self, value: R) -> bytes:
        """What is stored as the job's result; raises `InvalidRequest` with the path of what is not JSON."""
        return self.signature.returns.encode(value, "result")

    def decode_result(self, data: bytes | str | msgspec.Raw | None) -> R:
        """The result as the function's annotation says; raises `InvalidRequest`."""
        value: R = self.signature.returns.decode(b"null" if data is None else data, "result")
        return value


class Registry:
    """Handlers by kind."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler[Any]] = {}

    def add(self, handler: Handler[Any]) -> None:
        """Raises `ConfigurationError` where another function has the kind; the same one, reloaded, replaces itself."""
        known = self._handlers.get(handler.kind)
        if known is not None and (known.module, known.qualname) != (handler.module, handler.qualname):
            raise ConfigurationError(
                f"{handler.kind!r} is {known.module}.{known.qualname} already",
                path="name",
                help=f"give {handler.module}.{handler.qualname} another name=",
            )
        self._handlers[handler.kind] = handler

    def get(self, kind: str) -> Handler[Any] | None:
        """The handler of ``kind``, or None."""
        return self._handlers.get(kind)

    @property
    def kinds(self) -> list[str]:
        """All kinds, sorted."""
        return sorted(self._handlers)

    def check(self) -> None:
        """Read every signature now; raises `ConfigurationError` for the first that cannot work."""
        for handler in self._handlers.values():
            _ = handler.signature

    def __iter__(self) -> Iterator[Handler[Any]]:
        return iter(self._handlers.values())

    def __len__(self) -> int:
        return len(self._handlers)


def default_kind(function: Callable[..., Any]) -> str:
    """``module.function``; functions inside functions go by their last name."""
    name = str(getattr(function, "__qualname__", type(function).__qualname__)).rpartition("<locals>.")[2]
    return f"{module_name(function)}.{re.sub(r'[^A-Za-z0-9._-]', '_', name)}"


def module_name(function: Callable[..., Any]) -> str:
    """The module's importable name: what a worker would import it as, even where it runs as ``__main__`` here."""
    module = str(getattr(function, "__module__", type(function).__module__))
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    path = getattr(main, "__file__", None)
    return Path(path).stem if path else "main"


def type_name(kind: type) -> str:
    """What an error's type is called in what is told of it, and in retry rules."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{module_name(kind)}.{kind.__qualname__}"
