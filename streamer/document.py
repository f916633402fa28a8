"""Document: a YAML file read so that each complaint about a value can name its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from engines.errors import InputError
from engines.secrets import redact

__all__ = ["Document", "Loc"]

Loc = tuple[int | str, ...]  # the way to a value: keys and list positions

MANY = 100_000  # values, those that aliases repeat counted each time
DEEP = "lists or mappings too deep in each other, would be a few levels"


class Document:
    """A YAML file as plain values, with the line of every one of them.

    Raises:
        InputError: it cannot be read, is no YAML or is empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = name = str(path)
        text = _read(path)
        try:
            self._loader = yaml.SafeLoader(text)
            root = self._loader.get_single_node()
        except RecursionError:
            raise InputError(redact(f"{name}: {DEEP}")) from None
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise InputError(f"{name}:{line}: a control character, would be plain text") from None
        if root is None or root.tag == "tag:yaml.org,2002:null":
            raise InputError(f"{name}: empty, would hold sources, model and sinks")
        self._root: yaml.Node = root
        self._values = 0  # made so far

    def value(self) -> dict[str, object]:
        """Return the document as dicts, lists and scalars; keys are the text as written."""
        if not isinstance(self._root, yaml.MappingNode):
            raise self._at(self._root, "not a mapping, would begin with 'sources:'")
        try:
            found = self._plain(self._root, frozenset())
        except RecursionError:
            raise self._at(self._root, DEEP) from None
        assert isinstance(found, dict)
        return found

    def complaint(self, loc: Loc, sentence: str, *, about_key: bool) -> tuple[int, str]:
        """Return the line of a value, and a sentence about it with its place."""
        node, where = self._root, ""
        line = 1
        for step in loc:
            if isinstance(node, yaml.SequenceNode) and str(step).isdigit():
                node, where = node.value[int(step)], f"{where}[{step}]"
                line = _line(node)
                continue
            entry = _entry(node, str(step))
            if entry is None:
                break
            (key, node), where = entry, f"{where}.{step}".lstrip(".")
            line = _line(key)
        if about_key:
            where = where.rpartition(".")[0]
        return line, redact(f"{self.name}:{line}: {where + ': ' if where else ''}{sentence}")

    def _plain(self, node: yaml.Node, above: frozenset[int]) -> object:
        if id(node) in above:
            raise self._at(node, "an alias that holds itself, would be a plain value")
        self._values += 1
        if self._values > MANY:
            raise self._at(node, f"more than {MANY} values with all that aliases repeat, would be a few")
        above |= {id(node)}
        if isinstance(node, yaml.MappingNode):
            return {key: self._plain(value, above) for key, value in self._entries(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, above) for item in node.value]
        try:
            return self._loader.construct_object(node)
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from None
        except ValueError as error:
            raise self._at(node, f"{node.value!r}: {error}") from None

    def _entries(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._at(key, "a key that is not a word, would be 'key: value'")
            if key.value in seen:
                raise self._at(key, f"key {key.value!r} again, it already stands on line {seen[key.value]}")
            seen[key.value] = _line(key)
            yield key.value, value

    def _at(self, node: yaml.Node, text: str) -> InputError:
        return InputError(redact(f"{self.name}:{_line(node)}: {text}"))

    def _syntax(self, error: yaml.MarkedYAMLError) -> InputError:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = (error.problem or "not YAML").replace("found character '\\t'", "found a tab")
        sentence = f"YAML: {problem}, would be 'key: value' indented by spaces"
        return InputError(redact(f"{self.name}{line}: {sentence}"))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _entry(node: yaml.Node, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}, would be a YAML text file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, would be a pipeline file") from None
