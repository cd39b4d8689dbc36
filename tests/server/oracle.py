"""A second reader of strict JSON, written from RFC 8259 and the limits alone: recursive, slow, plain."""

from __future__ import annotations

import math

DIGITS = "0123456789"
HEX = DIGITS + "abcdefABCDEF"


class Refused(Exception):
    """The text is not strict JSON."""


def strict_value(data: bytes) -> bool:
    """Whether ``data`` is one strict JSON value of at most 64 levels."""
    try:
        reader = _Reader(data.decode("utf-8"))
        reader.space()
        reader.value(0)
        reader.space()
        return reader.at == len(reader.text)
    except (Refused, UnicodeDecodeError):
        return False


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        found = self.peek()
        if not found:
            raise Refused
        self.at += 1
        return found

    def expect(self, word: str) -> None:
        for letter in word:
            if self.take() != letter:
                raise Refused

    def space(self) -> None:
        while self.peek() and self.peek() in " \t\r\n":
            self.at += 1

    def value(self, depth: int) -> None:
        first = self.peek()
        if first == "{":
            self.object(depth + 1)
        elif first == "[":
            self.array(depth + 1)
        elif first == '"':
            self.string()
        elif first and first in "-" + DIGITS:
            self.number()
        elif first and first in "tfn":
            self.expect({"t": "true", "f": "false", "n": "null"}[first])
        else:
            raise Refused

    def object(self, depth: int) -> None:
        if depth > 64:
            raise Refused
        self.expect("{")
        self.space()
        if self.peek() == "}":
            self.at += 1
            return
        keys = set()
        while True:
            self.space()
            key = self.string()
            if key in keys:
                raise Refused
            keys.add(key)
            self.space()
            self.expect(":")
            self.space()
            self.value(depth)
            self.space()
            after = self.take()
            if after == "}":
                return
            if after != ",":
                raise Refused

    def array(self, depth: int) -> None:
        if depth > 64:
            raise Refused
        self.expect("[")
        self.space()
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            self.space()
            self.value(depth)
            self.space()
            after = self.take()
            if after == "]":
                return
            if after != ",":
                raise Refused

    def string(self) -> str:
        self.expect('"')
        found = ""
        while (letter := self.take()) != '"':
            if ord(letter) < 32:
                raise Refused
            found += self.escape() if letter == "\\" else letter
        return found

    def escape(self) -> str:
        letter = self.take()
        if letter != "u":
            if letter not in '"\\/bfnrt':
                raise Refused
            return dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))[letter]
        code = self.hex()
        if code == 0 or 0xDC00 <= code < 0xE000:
            raise Refused
        if 0xD800 <= code < 0xDC00:
            self.expect("\\u")
            low = self.hex()
            if not 0xDC00 <= low < 0xE000:
                raise Refused
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return chr(code)

    def hex(self) -> int:
        four = "".join(self.take() for _ in range(4))
        if any(letter not in HEX for letter in four):
            raise Refused
        return int(four, 16)

    def digits(self) -> None:
        if self.take() not in DIGITS:
            raise Refused
        while self.peek() and self.peek() in DIGITS:
            self.at += 1

    def number(self) -> None:
        start = self.at
        if self.peek() == "-":
            self.at += 1
        if self.peek() == "0":
            self.at += 1
        else:
            self.digits()
        whole = True
        if self.peek() == ".":
            whole = False
            self.at += 1
            self.digits()
        if self.peek() and self.peek() in "eE":
            whole = False
            self.at += 1
            if self.peek() and self.peek() in "+-":
                self.at += 1
            self.digits()
        text = self.text[start : self.at]
        if whole and not -(2**63) <= int(text) < 2**63:
            raise Refused
        if not whole and not math.isfinite(float(text)):
            raise Refused
