"""A function's parameters and result as JSON: what its annotations promise, tried before anything is sent."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from roost.errors import ConfigurationError, InvalidRequest
from roost.sdk.adapters import Adapter, adapter, encode
from roost.sdk.depends import Depends, Injected, check, dependency
from roost.sdk.outcome import Exit

_ABSENT = object()
"""The default of a parameter that the caller left out: the function's own default applies then."""


def injected() -> Any:
    """The default of a parameter that the worker gives, for type checkers: ``ctx: roost.Context = roost.injected()``.

    A worker gives contexts and dependencies by annotation anyway; with a default, ``enqueue`` is typed without them.
    """
    return None


class Signature:
    """The parameters of one function; made once per function by `Signature.of`."""

    __slots__ = (
        "_arguments",
        "_defaults",
        "_names",
        "_positional",
        "dependencies",
        "injected",
        "positional_only",
        "returns",
    )

    injected: str | None
    """The parameter that takes the context."""
    dependencies: dict[str, Depends]
    """The parameters whose values functions of the program make."""
    positional_only: list[str]
    returns: Adapter[Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        """Raises `ConfigurationError` for ``*args``, ``**kwargs`` and annotations that JSON cannot be read as."""
        name = _name_of(function)
        hints = _hints(function)
        self.returns = _adapter_of(_without_exit(hints.get("return", Any)), f"the result of {name}")
        self.injected = None
        self.dependencies = {}
        self._defaults: dict[str, object] = {}
        self._positional: list[str] = []
        self.positional_only: list[str] = []
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for parameter in inspect.signature(function).parameters.values():
            hint = hints.get(parameter.name, Any)
            if isinstance(hint, type) and issubclass(hint, Injected):
                self.injected = parameter.name
                continue
            if (depends := dependency(hint)) is not None:
                check(depends, name)
                self.dependencies[parameter.name] = depends
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ConfigurationError(
                    f"{name} takes {parameter}", help="name every parameter: a job's input is an object of them"
                )
            _adapter_of(hint, f"parameter {parameter.name} of {name}")
            if parameter.default is parameter.empty:
                fields.append((parameter.name, hint))
            else:
                fields.append((parameter.name, hint, _ABSENT))
                self._defaults[parameter.name] = parameter.default
            if parameter.kind is not parameter.KEYWORD_ONLY:
                self._positional.append(parameter.name)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                self.positional_only.append(parameter.name)
        self._names = [field[0] for field in fields]
        structure = msgspec.defstruct("Input", fields, kw_only=True, forbid_unknown_fields=True, gc=False)
        self._arguments: Adapter[Any] = Adapter(structure)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that the input carries."""
        return tuple(self._names)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The call's arguments by name, defaults left out; raises `InvalidRequest` for too many or one given twice."""
        if len(args) > len(self._positional):
            raise InvalidRequest(
                f"{len(args)} positional arguments given, {len(self._positional)} taken",
                path="input",
                help=f"the parameters are {', '.join(self._names) or 'none'}",
            )
        given = dict(zip(self._positional, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise InvalidRequest("the argument is given twice", path=f"input.{name}")
            given[name] = value
        return given

    def encode(self, arguments: dict[str, Any]) -> bytes:
        """The job's input; raises `InvalidRequest` with the parameter's path for what the function would not take."""
        data = encode(arguments, "input", canonical=True)
        self._arguments.decode(data, "input")
        return data

    def decode(self, data: bytes | str | msgspec.Raw) -> tuple[list[Any], dict[str, Any]]:
        """The call that an input stands for, without the context; raises `InvalidRequest`."""
        values = self._arguments.decode(_object(data), "input")
        kwargs = {name: value for name in self._names if (value := getattr(values, name)) is not _ABSENT}
        if not self.positional_only:
            return [], kwargs
        args = [kwargs.pop(name) if name in kwargs else self._defaults[name] for name in self.positional_only]
        return args, kwargs

    def value(self, arguments: dict[str, Any], name: str) -> object:
        """An argument, or its default."""
        return arguments[name] if name in arguments else self._defaults[name]


def _object(data: bytes | str | msgspec.Raw) -> bytes | str | msgspec.Raw:
    # A job enqueued by other means without an input (null) calls the function without arguments.
    return b"{}" if (data if isinstance(data, str) else bytes(data)) in ("null", b"null") else data


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"an annotation of {_name_of(function)} cannot be resolved: {error}",
            help="import the name in the module itself, not only under TYPE_CHECKING or inside a function",
        ) from None
    except TypeError:  # partials and other callables without annotations of their own
        return typing.get_type_hints(getattr(function, "func", type(function).__call__), include_extras=True)


def _without_exit(hint: Any) -> Any:
    """What is left of ``int | roost.Exit``: an early exit's result is what the handler's own would be."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    kept = [one for one in typing.get_args(hint) if one is not Exit and typing.get_origin(one) is not Exit]
    return reduce(or_, kept) if kept else Any


def _adapter_of(hint: Any, what: str) -> Adapter[Any]:
    try:
        return adapter(hint)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error.message}", help=error.help) from None


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))
