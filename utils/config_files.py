"""Config values from files and the command line, laid over one another, each with its source."""

import copy
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import json5

from utils.errors import ConfigError, nearest
from utils.files import read_regular

BASE_KEY = "_base_"
MOST_FILES, MOST_BYTES = 100, 1_000_000
"""Config files that one may be based on in all, and the size of each."""


class Layer(NamedTuple):
    """Values that one source wrote; ``named`` when it is what the user pointed at himself.

    ``notes``: what to warn of.
    """

    source: str
    values: dict[str, Any]
    named: bool = False
    notes: Sequence[str] = ()


class Assignment(NamedTuple):
    """One value for one dotted path, as ``--set`` gives it."""

    source: str
    path: str
    value: Any


@dataclass
class Draft:
    """Layers, the later over the earlier, then single values over all of them.

    Attributes:
        layers: at least one.
        assignments: in the order of their making.
        defaults: what holds where no layer says anything; ``None`` leaves that to the reader.
    """

    layers: list[Layer]
    assignments: list[Assignment] = field(default_factory=list)
    defaults: dict[str, Any] | None = None

    def merged(self, prepare: Callable[[dict[str, Any]], None] = lambda _: None) -> dict[str, Any]:
        """The values of all sources in one fresh dict.

        Args:
            prepare: changes what the layers say, in place, before the assignments come over it.

        Raises:
            ConfigError: an assignment's path leads through a value that has no keys.
        """
        values = reduce(merge, (layer.values for layer in self.layers), self.defaults or {})
        prepare(values)
        for source, path, value in self.assignments:
            assign(values, path, value, source)
        return values

    def source_of(self, path: str) -> str:
        """Which source wrote the value at the dotted ``path``, or else what is around it."""
        for assignment in reversed(self.assignments):
            if _overlap(assignment.path, path):
                return assignment.source
        # The last one that wrote it, since later layers lie over earlier ones.
        for layer in reversed(self.layers):
            if any(_overlap(leaf, path) for leaf in leaves(layer.values)):
                return layer.source
        around, _, _ = path.rpartition(".")
        return self.source_of(around) if around else self.main_source

    @property
    def main_source(self) -> str:
        """What the user would call the config as a whole."""
        return self.layers[-1].source

    def written(self) -> set[str]:
        """The dotted paths of the values that the user wrote himself for this run."""
        named = {leaf for layer in self.layers if layer.named for leaf in leaves(layer.values)}
        for _, path, value in self.assignments:
            below = leaves(value) if isinstance(value, dict) else ()
            named |= {path, *(f"{path}.{leaf}" for leaf in below)}
        return named


def read_layers(path: str | Path) -> list[Layer]:
    """A config file and, before it, the files that its ``"_base_"`` names.

    Raises:
        ConfigError: a file is missing, a folder, not JSON, or is its own base; or there are more
            than ``MOST_FILES``.
    """
    read: list[Path] = []

    def layers_of(path: Path, above: tuple[Path, ...]) -> Iterator[Layer]:
        asked_by = f"{above[-1]}: {BASE_KEY}: " if above else ""
        if _same(path) in map(_same, above):
            raise ConfigError(f"{asked_by}{path} is itself based on this file; break the circle")
        read.append(path)
        if len(read) > MOST_FILES:
            raise ConfigError(f"{asked_by}more than {MOST_FILES} files, counted each time")
        values = read_json5(path, asked_by)
        for base in _bases(values.pop(BASE_KEY, []), path):
            yield from layers_of(base, (*above, path))
        yield Layer(str(path), values, named=not above)

    return list(layers_of(Path(path), ()))


def _same(path: Path) -> str:
    """What two names of one file have in common."""
    # A NUL, which no file name can hold, makes `realpath` raise; reading the file says so properly.
    return os.path.realpath(path) if "\0" not in str(path) else str(path)


def read_json5(path: Path, asked_by: str = "") -> dict[str, Any]:
    """One object from a JSON file; ``//`` comments and trailing commas are allowed.

    Args:
        path: the file.
        asked_by: what stands before the path in errors, for a file that another one names.

    Raises:
        ConfigError: missing, a folder, unreadable, or a syntax error with its line and column.
    """
    where = f"{asked_by}{path}"
    try:
        # -sig: editors on Windows put a byte order mark in front.
        text = read_regular(path, MOST_BYTES).decode("utf-8-sig")
        _refuse_lone_backslashes(text, where)
        values = _loads(text)
    except FileNotFoundError as error:
        beside = [str(file) for file in path.parent.glob("*.json")]
        hint = nearest(str(path), beside) if beside else "; give the path of a .json file"
        raise ConfigError(f"{where}: no such file{hint}") from error
    except OSError as error:
        if os.path.isdir(path):
            raise ConfigError(f"{where}: is a folder; name the .json file in it") from error
        raise ConfigError(f"{where}: cannot be read ({error.strerror or error})") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: nested too deeply for a config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not a text file in UTF-8") from error
    except ValueError as error:  # also of a name that no file can have
        raise ConfigError(f"{where}{_syntax_error(str(error))}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: must hold one object {{…}}, not {type(values).__name__}")
    return values


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A new dict: objects merged key by key, lists and single values replaced.

    Where ``over`` names another ``type`` than ``base``, what ``base`` said about its own type
    (the ``args`` above all) does not fit any more and is dropped.
    """
    # Momentum of SGD, say, is no argument of the Adam that takes its place.
    if "type" in over and "type" in base and over["type"] != base["type"]:
        base = {}
    merged = copy.deepcopy(base)
    for key, value in over.items():
        both_objects = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both_objects else copy.deepcopy(value)
    return merged


def assign(values: dict[str, Any], path: str, value: Any, source: str) -> None:
    """Set the value at a dotted path (``trainer.epochs``, ``loss_name.2.2``) in place.

    Objects that are missing on the way, or stand as ``null``, ``true`` or ``false``, are made.

    Raises:
        ConfigError: the path leads through a number or a text, or past the end of a list.
    """
    *parents, last = path.split(".")
    node: Any = values
    for depth, part in enumerate(parents):
        key = _key(node, part, ".".join(parents[:depth]), path, source)
        if isinstance(node, dict) and isinstance(node.get(key), bool | None):
            node[key] = {}
        node = node[key]
    # A copy, since one value may go into the configs of several folds or trials.
    node[_key(node, last, ".".join(parents), path, source)] = copy.deepcopy(value)


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path → value, of all that are not objects with keys of their own."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        found |= leaves(value, f"{path}.") if isinstance(value, dict) and value else {path: value}
    return found


def differing_paths(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The dotted paths at which two configs are not the same, sorted; ``null`` is as good as
    nothing."""
    ours, theirs = leaves(one), leaves(other)
    return sorted(path for path in ours | theirs if ours.get(path) != theirs.get(path))


def _bases(named: Any, path: Path) -> list[Path]:
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ConfigError(f"{path}: {BASE_KEY}: must be a path or a list of paths, got {named!r}")
    return [Path(os.path.normpath(path.parent / name)) for name in named]


# Both in one pattern, since // in a text begins no comment, nor does " in a comment a text.
_COMMENT_OR_TEXT = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL
)
# Texts are matched to be passed over: ",}" in one of them is no trailing comma.
_TEXT_OR_COMMA = re.compile(r"""("(?:\\.|[^"\\])*"|[\[{,]\s*,)|,(\s*[}\]])""", re.DOTALL)
"""Group 1 stays; the comma before group 2 goes, unless it ends nothing, as in ``[,]``."""
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)


def _refuse_lone_backslashes(text: str, where: str) -> None:
    """``C:\\data\\train`` is read as ``C:data`` and a tab: no text of a config means that."""
    for found in _COMMENT_OR_TEXT.finditer(text):
        if found[0].startswith("/") or len(found[0]) == len(r'"\t"'):  # a separator is no path
            continue
        escapes = {escape[0] for escape in _ESCAPE.findall(found[0]) if len(escape) == 1}
        wrapped = "n" in escapes and " " in found[0]  # a note of several lines
        if escapes - {*"\"'\\/\n", *("n" if wrapped else "")}:
            line = text.count("\n", 0, found.start()) + 1
            shown = found[0].partition("\n")[0][:80]
            raise ConfigError(
                f"{where}:{line}: {shown} has a backslash, which JSON reads as part of another"
                " character; write / or \\\\ in its place"
            )


def _loads(text: str) -> Any:
    """JSON with comments and trailing commas; what json5 takes beside that, or names the place of,
    is left to it: it needs a second for 50 kB."""
    plain = _COMMENT_OR_TEXT.sub(lambda found: " " if found[0][0] == "/" else found[0], text)
    plain = _TEXT_OR_COMMA.sub(lambda found: found[1] or found[2] or "", plain)
    try:
        return json.loads(plain, object_pairs_hook=_without_repeats)
    except ValueError:
        if len(text) > MOST_BYTES // 10:
            raise
        return json5.loads(text, allow_duplicate_keys=False)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _syntax_error(message: str) -> str:
    """``:3:6: unexpected '}'`` from json5's ``<string>:3 Unexpected "}" at column 6``."""
    found = re.fullmatch(r"<string>:(\d+) Unexpected (.*) at column (\d+)", message, re.DOTALL)
    if found is None:
        return ": " + message[:1].lower() + message[1:]
    line, what, column = found.groups()
    shown = what if what == "end of input" else repr(what[1:-1])
    return f":{line}:{column}: unexpected {shown} (line {line}, column {column})"


def _overlap(one: str, other: str) -> bool:
    # With the dot: trainer.epoch is not above trainer.epochs.
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _key(node: Any, part: str, parent: str, path: str, source: str) -> str | int:
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise ConfigError(f"{source}: {path}: {parent} is {node!r}, which has no keys")
    if not part.isdecimal() or int(part) >= len(node):
        raise ConfigError(
            f"{source}: {path}: {parent} is a list; its places are 0 to {len(node) - 1}"
        )
    return int(part)
