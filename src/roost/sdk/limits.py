"""Limits as a program says them: a key made of a call's arguments, and how much of it may run or start."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import msgspec

from roost.errors import ConfigurationError, InvalidRequest
from roost.sdk.adapters import encode
from roost.sdk.signature import Signature
from roost.wire import jobs as wire

_HELP = 'write a parameter\'s name in braces, such as "tenant:{tenant}"'


class Limit:
    """The base of `Rate` and `Concurrency`: jobs whose keys are equal share the limit, whatever their kind."""

    __slots__ = ("_parts", "cost", "key")

    def __init__(self, key: str, *, cost: int | str = 1) -> None:
        self.key = key
        self.cost = cost
        self._parts: list[tuple[str, str | None]] = []
        try:
            parts = list(string.Formatter().parse(key))
        except ValueError as error:
            raise ConfigurationError(f"{key!r} is no template: {error}", path="limits", help=_HELP) from None
        for text, name, form, conversion in parts:
            if name is not None and (form or conversion or not name.isidentifier()):
                raise ConfigurationError(f"{{{name}}} in {key!r} is no parameter", path="limits", help=_HELP)
            self._parts.append((text, name))

    def check(self, parameters: Sequence[str]) -> None:
        """Raises `ConfigurationError` where the key or the cost names what is no parameter."""
        names = [name for _, name in self._parts if name is not None]
        if isinstance(self.cost, str):
            names.append(self.cost)
        for name in names:
            if name not in parameters:
                raise ConfigurationError(
                    f"the limit {self.key!r} names {name!r}, which is no parameter",
                    path="limits",
                    help=f"there are {', '.join(parameters) or 'none'}",
                )

    def rule(self, signature: Signature, arguments: dict[str, Any]) -> wire.Limit:
        """The limit of one call; raises `InvalidRequest` for a key that has no text, or a cost that is no number."""
        key = "".join(
            text + ("" if name is None else _text(signature.value(arguments, name), name)) for text, name in self._parts
        )
        if not key:
            raise InvalidRequest("the limit's key is empty", path="limits", help=_HELP)
        cost = signature.value(arguments, self.cost) if isinstance(self.cost, str) else self.cost
        if isinstance(cost, bool) or not isinstance(cost, int):
            raise InvalidRequest(f"{cost!r} is no cost", path="limits.cost", help="a whole number from 1")
        return self._rule(key, cost)

    def _rule(self, key: str, cost: int) -> wire.Limit:
        raise NotImplementedError


class Rate(Limit):
    """No more than ``rate`` start, such as ``"100/m"`` (s, m, h, d), for each value of ``key``.

    ``burst`` may start at once (where None, what the rate allows in one of its periods). ``cost`` is how much of it a
    job takes: a number, or the name of the parameter that has it.
    """

    __slots__ = ("burst", "rate")

    def __init__(self, key: str, rate: str, *, burst: int | None = None, cost: int | str = 1) -> None:
        super().__init__(key, cost=cost)
        self.rate = rate
        self.burst = burst

    def _rule(self, key: str, cost: int) -> wire.Limit:
        return wire.Limit(key=key, rate=self.rate, burst=self.burst, cost=cost)


class Concurrency(Limit):
    """At most ``most`` run at once for each value of ``key``; a job counts as ``cost`` of them."""

    __slots__ = ("most",)

    def __init__(self, key: str, most: int, *, cost: int | str = 1) -> None:
        super().__init__(key, cost=cost)
        self.most = most

    def _rule(self, key: str, cost: int) -> wire.Limit:
        return wire.Limit(key=key, concurrency=self.most, cost=cost)


def _text(value: object, name: str) -> str:
    """Texts as they are, everything else as its JSON says it."""
    data = encode(value, f"limits.{name}", canonical=True)
    return str(msgspec.json.decode(data)) if data.startswith(b'"') else data.decode()
