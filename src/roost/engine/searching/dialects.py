"""What the two databases say differently in a composed statement; user text never becomes part of any."""

from __future__ import annotations

from typing import Any, Protocol


class Dialect(Protocol):
    """Expressions over columns and parameters; ``:name`` is a parameter in both."""

    def job_rows(self) -> str:
        """``FROM`` the jobs whose ids are the JSON array ``:ids``, as ``j``."""
        ...

    def ordered(
        self, table: str, index: str, condition: str, equal: tuple[tuple[str, str], ...], id: str, direction: str
    ) -> str:
        """What follows ``FROM`` to read a range of an index by its ids, and by no other index in their order."""
        ...

    def glob(self, column: str, parameter: str) -> str:
        """Whether ``column`` matches the pattern that `pattern` made; case counts."""
        ...

    def pattern(self, glob: str) -> str:
        """The parameter for `glob`: a star stands for any characters, nothing else for anything but itself."""
        ...

    def contains(self, column: str, parameter: str) -> str:
        """Whether ``column`` has the words of `words` in it; the case of ASCII letters does not count."""
        ...

    def member(self, document: str, name: str) -> str:
        """The text at the top-level member ``name`` (a word of ours) of a JSON text; NULL where there is none."""
        ...

    def after_line(self, text: str) -> str:
        """What follows the first newline."""
        ...

    def json_type(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        """The JSON type (number, string, boolean, null, …) at a dotted path; NULL where nothing is."""
        ...

    def json_text(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        """The scalar at a dotted path as text."""
        ...

    def json_number(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        """The number at a dotted path."""
        ...

    def number(self, parameter: str) -> str:
        """A number that travels as text."""
        ...


class Queries(Protocol):
    """One consistent view, or a transaction, that composed statements run in."""

    @property
    def dialect(self) -> Dialect: ...
    def query(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]: ...


def words(text: str) -> str:
    """The parameter for `Dialect.contains`: a LIKE pattern with its own signs escaped."""
    lowered = "".join(character.lower() if character.isascii() else character for character in text)
    return f"%{_escaped(lowered)}%"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


class SqliteDialect:
    """See `Dialect`."""

    def job_rows(self) -> str:
        return "FROM json_each(:ids) q CROSS JOIN job j ON j.id = q.value"

    def ordered(
        self, table: str, index: str, condition: str, equal: tuple[tuple[str, str], ...], id: str, direction: str
    ) -> str:
        named = f" INDEXED BY {index}" if index else ""
        same = "".join(f" AND {column} = :{parameter}" for column, parameter in equal)
        return f"{table}{named} WHERE {condition}{same} AND {id} >= :low AND {id} <= :high ORDER BY {id} {direction}"

    def glob(self, column: str, parameter: str) -> str:
        return f"{column} GLOB :{parameter}"

    def pattern(self, glob: str) -> str:
        return "".join(f"[{character}]" if character in "?[" else character for character in glob)

    def contains(self, column: str, parameter: str) -> str:
        return f"lower({column}) LIKE :{parameter} ESCAPE '\\'"

    def member(self, document: str, name: str) -> str:
        return f"({document} ->> '{name}')"

    def after_line(self, text: str) -> str:
        return f"substr({text}, instr({text}, char(10)) + 1)"

    def json_type(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        found = f"json_type({document}, {self._path(path, parameter, parameters)})"
        return (
            f"CASE {found} WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number' WHEN 'text' THEN 'string' "
            f"WHEN 'true' THEN 'boolean' WHEN 'false' THEN 'boolean' ELSE {found} END"
        )

    def json_text(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        place = self._path(path, parameter, parameters)
        return (
            f"CASE json_type({document}, {place}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
            f"ELSE {document} ->> {place} END"
        )

    def json_number(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        return f"({document} ->> {self._path(path, parameter, parameters)})"

    def number(self, parameter: str) -> str:
        return f"CAST(:{parameter} AS NUMERIC)"

    @staticmethod
    def _path(path: str, parameter: str, parameters: dict[str, object]) -> str:
        parameters[parameter] = "$" + "".join(f'."{name}"' for name in path.split("."))
        return f":{parameter}"


class PostgresDialect:
    """See `Dialect`."""

    def job_rows(self) -> str:
        return "FROM unnest(translate(:ids, '[]', '{}')::bigint[]) q (id) JOIN job j ON j.id = q.id"

    def ordered(
        self, table: str, index: str, condition: str, equal: tuple[tuple[str, str], ...], id: str, direction: str
    ) -> str:
        # Equal columns would fall out of the order, and a walk over all ids would do: that meets what is looked for
        # late or never where it is old. Compared as rows, they stay, and only the one index has this order.
        columns = ", ".join([*(column for column, _ in equal), id])
        values = ", ".join(f":{parameter}" for _, parameter in equal)
        low, high = (f"{values}, :low", f"{values}, :high") if equal else (":low", ":high")
        order = ", ".join(f"{column} {direction}" for column in columns.split(", "))
        return f"{table} WHERE {condition} AND ({columns}) >= ({low}) AND ({columns}) <= ({high}) ORDER BY {order}"

    def glob(self, column: str, parameter: str) -> str:
        return f"{column} LIKE :{parameter}"

    def pattern(self, glob: str) -> str:
        return _escaped(glob).replace("*", "%")

    def contains(self, column: str, parameter: str) -> str:
        return f'lower({column} COLLATE "C") LIKE :{parameter}'

    def member(self, document: str, name: str) -> str:
        return f"({document}::json ->> '{name}')"

    def after_line(self, text: str) -> str:
        return f"substr({text}, position(chr(10) in {text}) + 1)"

    def json_type(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        return f"json_typeof({self._at(document, path, parameter, parameters)})"

    def json_text(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        return f"({self._at(document, path, parameter, parameters)} #>> '{{}}')"

    def json_number(self, document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        return f"{self.json_text(document, path, parameter, parameters)}::numeric"

    def number(self, parameter: str) -> str:
        return f":{parameter}::text::numeric"

    @staticmethod
    def _at(document: str, path: str, parameter: str, parameters: dict[str, object]) -> str:
        # Member by member: a path operator would take a number for the index of an array.
        names = path.split(".")
        parameters |= {f"{parameter}_{place}": name for place, name in enumerate(names)}
        steps = "".join(f" -> :{parameter}_{place}::text" for place in range(len(names)))
        return f"({document}::json{steps})"


SQLITE = SqliteDialect()
POSTGRES = PostgresDialect()
