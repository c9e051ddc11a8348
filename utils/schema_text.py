"""What a pydantic schema says, in words: errors as lines for users, keys as a table."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from utils.errors import nearest

Node = dict[str, Any]
"""A JSON Schema, or a part of one."""
LONGEST_VALUE = 60
MOST_ERRORS = 50
"""That are put into words; whoever has more mends these first."""
KEY = "[key]"
"""How pydantic marks an error that is about a key and not about its value."""


def explain(error: ValidationError, schema: Node, values: Any) -> dict[str, str]:
    """The first errors as dotted path → what is wrong, what is allowed, the nearest valid name.

    Args:
        error: what pydantic raised.
        schema: ``model_json_schema()`` of the model.
        values: what was validated, as plain JSON values.
    """
    found: dict[tuple[str | int, ...], str] = {}
    for detail in error.errors(include_url=False)[:MOST_ERRORS]:
        path = _real_path(detail["loc"], values, detail["type"] == "missing")
        # The first: a union reports one error for each alternative that does not fit.
        found.setdefault(path, _sentence(detail, path, schema))
    # A union tried in vain complains of the whole value as well as of the part that is wrong.
    wholes = {path[:end] for path in found for end in range(len(path))}
    return {dotted(path): text for path, text in found.items() if path not in wholes}


def dotted(path: tuple[str | int, ...]) -> str:
    """``("loss_name", 2, 1)`` as ``loss_name.2.1``."""
    return ".".join(map(str, path))


def keys(schema: Node) -> dict[str, Node]:
    """Dotted path → its part of the schema, for every key except those that only group others."""
    return dict(_walk(schema, schema, ""))


def describe(node: Node, root: Node) -> str:
    """What a value may be: ``an integer >= 1``, ``'black' or 'keep'``, ``null or a string``."""
    if "allowed" in node:
        return node["allowed"]
    return _either([_phrase(variant, root) for variant in _variants(node, root)])


def markdown_table(schema: Node) -> str:
    """Every key as a row: dotted path, type and allowed values, default, meaning."""
    rows = ["| Key | Type, allowed values | Default | Meaning |", "|---|---|---|---|"]
    for path, node in keys(schema).items():
        allowed = describe(node, schema).replace("|", "\\|")
        meaning = node.get("description", "")
        rows.append(f"| `{path}` | {allowed} | {_default(node)} | {meaning} |")
    return "\n".join(rows)


def _real_path(
    location: tuple[str | int, ...], values: Any, missing: bool
) -> tuple[str | int, ...]:
    """``location`` without the names of union members, which pydantic puts between the keys.

    ``missing``: its end is a key that is not there.
    """
    path: list[str | int] = []
    if location[-1:] == (KEY,):
        return location[:-1]
    for depth, part in enumerate(location):
        if isinstance(values, list) and isinstance(part, int):
            if part >= len(values):
                break  # an item that is missing: the list as a whole is wrong
            path.append(part)
        elif isinstance(values, dict) and part in values:
            values = values[part]
            path.append(part)
        elif missing and depth == len(location) - 1:
            path.append(part)
    return tuple(path)


def _sentence(detail: Any, path: tuple[str | int, ...], root: Node) -> str:
    *parents, last = path or ("",)
    if detail["type"] == "extra_forbidden":
        value = _shown(detail["input"])
        return f"unknown key (value {value}){_nearest_key(str(last), parents, root)}"
    if detail["loc"][-1:] == (KEY,):
        names = [node["propertyNames"] for node in _at(tuple(parents), root)]
        reason = detail.get("ctx", {}).get("error", _either([each["allowed"] for each in names]))
        return f"not a name that fits here: {reason}"
    if detail["type"].startswith("union_tag"):
        context = detail["ctx"]
        expected = context.get("expected_tags") or "one of its kinds"
        return f"{context['discriminator']} must be {expected}, got {context.get('tag')!r}"
    nodes = _at(path, root)
    if detail["type"] == "value_error" and any(_properties(node, root) for node in nodes):
        return str(detail["ctx"]["error"])  # values of a section that don't go together
    if not nodes:  # an alias, of which the schema knows nothing
        return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {_shown(detail['input'])}"
    allowed = _either([describe(node, root) for node in nodes])
    if detail["type"] == "less_than_equal" and str(detail["ctx"]["le"]) not in allowed:
        allowed += f" and at most {detail['ctx']['le']:,}"
    if detail["type"] == "missing" and isinstance(detail["loc"][-1], str):
        return f"missing; must be {allowed}"
    return f"must be {allowed}, got {_shown(detail['input'])}"


def _nearest_key(key: str, parents: list[str | int], root: Node) -> str:
    """A key of the same name in another place, else the nearest of those valid in this one."""
    # A right key in the wrong section is more frequent than a mistyped one.
    elsewhere = [path for path in keys(root) if path.split(".")[-1] == key]
    if len(elsewhere) == 1:
        return f"; did you mean {elsewhere[0]!r}?"
    here = [name for node in _at(tuple(parents), root) for name in _properties(node, root)]
    return nearest(key, here)


def _at(path: tuple[str | int, ...], root: Node) -> list[Node]:
    """The parts of the schema that a value at ``path`` may follow."""
    nodes = [root]
    for part in path:
        variants = [variant for node in nodes for variant in _variants(node, root)]
        if isinstance(part, str):  # one item may stand where a list of them is meant
            items = [node["items"] for node in variants if "items" in node]
            variants += [variant for node in items for variant in _variants(node, root)]
        nodes = [child for variant in variants if (child := _child(variant, part)) is not None]
    return nodes


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(part, str):
        return node.get("properties", {}).get(part) or node.get("additionalProperties") or None
    places = node.get("prefixItems", ())
    return places[part] if part < len(places) else node.get("items")


def _variants(node: Node, root: Node) -> Iterator[Node]:
    """``node`` with its references followed and its alternatives spread out."""
    if "$ref" in node:
        yield from _variants(root["$defs"][node["$ref"].split("/")[-1]], root)
        return
    alternatives = node.get("anyOf") or node.get("oneOf")
    if alternatives is None:
        yield node
        return
    for alternative in alternatives:
        yield from _variants(alternative, root)


def _properties(node: Node, root: Node) -> dict[str, Node]:
    return {
        name: child
        for variant in _variants(node, root)
        for name, child in variant.get("properties", {}).items()
    }


def _walk(node: Node, root: Node, prefix: str) -> Iterator[tuple[str, Node]]:
    for name, child in _properties(node, root).items():
        groups = [
            variant.get("properties") and not variant.get("additionalProperties")
            for variant in _variants(child, root)
        ]
        if not all(groups):
            yield prefix + name, child
        yield from _walk(child, root, f"{prefix}{name}.")
        for variant in _variants(child, root):  # objects under names that the user chooses
            inner = variant.get("additionalProperties")
            if isinstance(inner, dict) and "$ref" in inner:
                yield from _walk(inner, root, f"{prefix}{name}.<name>.")


def _default(node: Node) -> str:
    if "default" not in node:
        return "(required)"
    value = node["default"]
    return "as below" if isinstance(value, dict) and value else f"`{json.dumps(value)}`"


def _either(phrases: list[str]) -> str:
    *others, last = dict.fromkeys(phrases)
    return f"{', '.join(others)} or {last}" if others else last


def _phrase(node: Node, root: Node) -> str:
    if "allowed" in node:
        return node["allowed"]
    if "const" in node or "enum" in node:
        return _either([repr(value) for value in node.get("enum", [node.get("const")])])
    kind = node.get("type")
    if kind == "array":
        return _list_phrase(node, root)
    if kind in ("integer", "number"):
        return ("an integer" if kind == "integer" else "a number") + _bounds(node)
    plain: dict[Any, str] = {"boolean": "true or false", "string": "a string", "null": "null"}
    return plain.get(kind, "an object {…}")


def _list_phrase(node: Node, root: Node) -> str:
    if "prefixItems" in node:
        return "[" + "; ".join(describe(item, root) for item in node["prefixItems"]) + "]"
    count = f" of {node['minItems']}" if "minItems" in node else ""
    return f"a list{count}, each item {describe(node.get('items', {}), root)}"


def _bounds(node: Node) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']:.10g} to {node['maximum']:.10g}"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {node[key]:.10g}" for key, sign in signs.items() if key in node]
    return " " + " and ".join(bounds) if bounds else ""


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
