"""The documentation page: the OpenAPI document for people, without a script."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

_METHODS = ("get", "post", "put", "delete")


def render(document: dict[str, Any]) -> str:
    """The page; every text is escaped."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                groups[methods[method]["tags"][0]].append((path, method, methods[method]))
    schemas = document["components"]["schemas"]
    prefix = document["servers"][0]["url"]
    info = document["info"]
    navigation = "".join(
        f'<li><a href="#{tag}">{tag}</a><ul>'
        + "".join(
            f'<li><a href="#{found["operationId"]}">{escape(found["operationId"])}</a></li>' for _, _, found in group
        )
        + "</ul></li>"
        for tag, group in groups.items()
    )
    sections = "".join(
        f'<section id="{tag["name"]}"><h2>{escape(tag["name"])}</h2><p>{escape(tag["description"])}</p>'
        + "".join(_operation(prefix + path, method, found, schemas) for path, method, found in groups[tag["name"]])
        + "</section>"
        for tag in document["tags"]
    )
    types = "".join(_type(name, schema) for name, schema in sorted(schemas.items()) if "properties" in schema)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API {escape(info['version'])}</title>"
        '<link rel="stylesheet" href="/docs/docs.css"></head><body>'
        f'<nav><h1><a href="/docs">{escape(info["title"])}</a></h1><p>API {escape(info["version"])} · '
        f'<a href="/openapi.json">openapi.json</a></p><ul>{navigation}<li><a href="#types">types</a></li></ul></nav>'
        f"<main><p>{escape(info['summary'])}.</p><p>{escape(info['description'])}</p>{sections}"
        f'<section id="types"><h2>types</h2>{types}</section></main></body></html>'
    )


def _operation(path: str, method: str, found: dict[str, Any], schemas: dict[str, Any]) -> str:
    body = found.get("requestBody", {}).get("content", {}).get("application/json", {})
    rows = [
        _row(part["name"], part["in"], part["schema"], part["required"], part.get("description", ""))
        for part in found["parameters"]
    ]
    if body:
        shape = _resolved(body["schema"], schemas)
        rows += [
            _row(name, "body", kind, name in shape.get("required", ()), kind.get("description", ""))
            for name, kind in shape.get("properties", {}).items()
        ]
    status, reply = next(iter(found["responses"].items()))
    refusals = " ".join(f"<code>{code}</code>" for code in list(found["responses"])[1:])
    identity = escape(found["operationId"])
    return (
        f'<article id="{identity}"><h3><span class="{method}">{method.upper()}</span> <code>{escape(path)}</code></h3>'
        f"<p><b>{escape(found['summary'])}.</b> {_prose(found.get('description', ''))}</p>"
        + (f"<table><tr><th>field<th>in<th>type<th></tr>{''.join(rows)}</table>" if rows else "")
        + f"<pre>{escape(_curl(path, method, body))}</pre>"
        + f"<p>Answers <code>{status}</code> with {_shape(_media(reply))}; "
        + f"refuses with {refusals} and {_shape({'$ref': '/ErrorBody'})}.</p></article>"
    )


def _media(reply: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(reply["content"].values()))["schema"]
    return found


def _type(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = "".join(
        _row(field, "", kind, field in required, kind.get("description", ""))
        for field, kind in schema["properties"].items()
    )
    return (
        f'<article id="type-{escape(name)}"><h3>{escape(name)}</h3><p>{_prose(schema.get("description", ""))}</p>'
        f"<table><tr><th>field<th><th>type<th></tr>{rows}</table></article>"
    )


def _row(name: str, where: str, kind: dict[str, Any], required: bool, text: str) -> str:
    default = kind.get("default")
    notes = [text] if text else []
    notes += [f"{word} {kind[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in kind]
    notes += [f"{word} {kind[key]} characters" for key, word in (("maxLength", "at most"),) if key in kind]
    if default not in (None, "", [], {}, False) and not required:
        notes.append(f"default {json.dumps(default)}")
    mark = "<b>required</b> " if required else ""
    return f"<tr><td><code>{escape(name)}</code><td>{where}<td>{_shape(kind)}<td>{mark}{escape('; '.join(notes))}</tr>"


def _prose(text: str) -> str:
    return re.sub(r"``?([^`]+)``?", r"<code>\1</code>", escape(text))


def _shape(kind: dict[str, Any]) -> str:
    if "$ref" in kind:
        name = escape(kind["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}">{name}</a>'
    if "anyOf" in kind:
        return " or ".join(_shape(part) for part in kind["anyOf"])
    if "enum" in kind:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in kind["enum"])
    if kind.get("type") == "array":
        return f"list of {_shape(kind.get('items', {}))}"
    if "format" in kind:
        return escape(kind["format"])
    return escape(str(kind.get("type", "any JSON")))


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _curl(path: str, method: str, body: dict[str, Any]) -> str:
    shown = path.replace("{id}", "1").replace("{name}", "mail")
    verb = "" if method == "get" else f" -X {method.upper()}"
    if "example" not in body:
        return f"curl{verb} http://127.0.0.1:7667{shown}"
    text = json.dumps(body["example"], ensure_ascii=False).replace("'", "'\\''")
    return f"curl{verb} http://127.0.0.1:7667{shown} -H 'content-type: application/json' \\\n  -d '{text}'"
