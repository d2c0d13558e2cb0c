"""YAML as runbooks take it: mappings, lists and plain values, each name with its line.

Values are those of YAML 1.2: `on`, `no` and `2026-01-01` are texts, as whoever writes them at night expects. Aliases
and tags are refused: a file that people check by reading it has no use for them.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

_DEEPEST = 10
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FRACTION = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}", re.ASCII)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN = ("str", "int", "float", "bool", "null", "timestamp", "value", "merge", "map", "seq")
_TAGS = {f"tag:yaml.org,2002:{name}" for name in _PLAIN}
_SEVERAL = "expected a single document in the stream"


class YamlError(Exception):
    """This is not YAML that a runbook takes; `line` is in the file."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the line its name is on."""

    value: Any
    line: int


def read(text: str, first_line: int) -> dict[str, Entry]:
    """The mapping in `text`, whose first line is the file's `first_line`. Raises YamlError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = "only one document is taken; remove the ---" if error.context == _SEVERAL else error.problem
        raise YamlError(first_line + (mark.line if mark else 0), f"{what or error}; write `name: value`") from None
    except yaml.reader.ReaderError as error:
        line = first_line + text.count("\n", 0, error.position)
        raise YamlError(line, "there is a control character; remove it") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise YamlError(first_line, "this is not YAML; write `name: value`, one a line") from None
    if node is None:
        return {}
    return _Reader(first_line).mapping(node)


class _Reader:
    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._seen: set[int] = set()

    def mapping(self, node: Any, depth: int = 0) -> dict[str, Entry]:
        self._look(node, depth)
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, "write `name: value`, one a line")
        found: dict[str, Entry] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a name is a word; write `name: value`")
            name = self._text(key)
            if name in found:
                raise self._error(key, f"{name} is there twice; remove one")
            found[name] = Entry(self._value(value, depth + 1), self._line(key))
        return found

    def _value(self, node: Any, depth: int) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {name: entry.value for name, entry in self.mapping(node, depth).items()}
        self._look(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, depth + 1) for item in node.value]
        return self._text(node) if node.style else _plain(self._text(node))

    def _look(self, node: Any, depth: int) -> None:
        if id(node) in self._seen:
            raise self._error(node, "aliases are not taken; write the value out")
        self._seen.add(id(node))
        if depth > _DEEPEST:
            raise self._error(node, "this is nested too deep; write it flatter")
        if node.tag not in _TAGS:
            raise self._error(node, "tags are not taken; write the value without")

    def _text(self, node: Any) -> str:
        value = str(node.value)
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise self._error(node, "there is a character that cannot be stored; remove it")
        return value

    def _line(self, node: Any) -> int:
        return self._first_line + int(node.start_mark.line)

    def _error(self, node: Any, what: str) -> YamlError:
        return YamlError(self._line(node), what)


def _plain(text: str) -> object:
    """A value that is not in quotes."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FRACTION.fullmatch(text) else text
