"""Reads a runbook: Markdown as people write it, of which task items under the phases' headings are the program.

The Markdown is CommonMark (https://spec.commonmark.org) with GitHub's task items; docs/writing-runbooks.md has the
whole of the syntax. All mistakes of a file are collected, so that whoever wrote it mends it once.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from holdfast.runbooks import front_matter, spans, yaml_values
from holdfast.runbooks.actions import ActionError, Registry
from holdfast.runbooks.front_matter import LONGEST_NAME, FrontMatter, is_name
from holdfast.runbooks.mistakes import Mistakes
from holdfast.runbooks.model import PHASES, Phase, Role, Runbook, RunbookError, Step
from holdfast.runbooks.spans import Span, SpanError
from holdfast.runbooks.yaml_values import YamlError

LARGEST = 256 * 1024
"""Bytes of a file."""
_ROLES: tuple[Role, ...] = ("responder", "commander")
_TASK = re.compile(r"\[([ xX])\](?:\s+|$)")
_LIKE_TASK = re.compile(r"\[\s*[xX]?\s*\]")
_LOST = re.compile(r"^[ \t]*(?:[-*+]\s*\[[ xX]?\]|\d{1,9}[.)]\s+(?:\*\*|\[[ xX]?\]))", re.MULTILINE)
"""A line that somebody meant as a task or a group, in a block that is neither."""
_TASK_FORM = "write `- [ ] what to do`"
_PHASE_OF: dict[str, Phase] = {heading.casefold(): phase for phase, heading in PHASES.items()}


def load(file: Path, registry: Registry, *, shipped: bool) -> Runbook:
    """Read and parse a file. Raises RunbookError, also when it cannot be read."""
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise RunbookError(
            [f"{file}:1: it cannot be read: {error.strerror}; see that it is there and may be read"]
        ) from None
    return parse(text_of(data, str(file)), file, registry, shipped=shipped)


def text_of(data: bytes, path: str) -> str:
    """Raises RunbookError if it is too large or not UTF-8."""
    if len(data) > LARGEST:
        raise RunbookError([f"{path}:1: it is larger than {LARGEST // 1024} KiB; keep to what an incident needs"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RunbookError([f"{path}:{line}: this is not UTF-8; save the file as UTF-8"]) from None


def parse(text: str, path: str | PurePath, registry: Registry, *, shipped: bool) -> Runbook:
    """The runbook that `text` is. Raises RunbookError with all of its mistakes."""
    mistakes = Mistakes(str(path))
    data = text.encode("utf-8", "surrogatepass")
    text = text_of(data, str(path))
    if "\0" in text:
        mistakes.add(text.count("\n", 0, text.index("\0")) + 1, "there is a NUL character; remove it")
    lines = re.sub(r"\r\n?", "\n", text).split("\n")
    front, body = _split(lines)
    head = front_matter.read(front, PurePath(path).stem, mistakes)
    steps = _Body(head, registry, mistakes).steps(_blocks(body))
    mistakes.raise_any()
    return Runbook(
        id=head.id,
        title=head.title,
        triggers=head.triggers,
        severity=head.severity,
        clocks=head.clocks,
        steps=tuple(steps),
        text=text,
        version=version(text),
        path=str(path),
        shipped=shipped,
    )


def version(text: str) -> str:
    """What a text is known by: two files with one version are the same to the last byte."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def without_front_matter(text: str) -> str:
    """The text for people."""
    return _split(text.split("\n"))[1].lstrip("\n")


def _split(lines: list[str]) -> tuple[str | None, str]:
    """Front matter if there is any, and the rest on the same lines as in the file."""
    if lines[0].rstrip() == "---":
        for number, line in enumerate(lines[1:], 1):
            if line.rstrip() == "---":
                return "\n".join(lines[1:number]), "\n" * (number + 1) + "\n".join(lines[number + 1 :])
    return None, "\n".join(lines)


@dataclass(slots=True)
class _Block:
    """A block of the document: `line` counts from 1, `spans` are the tokens of a paragraph's or heading's text."""

    type: str
    line: int
    token: Token
    children: list["_Block"] = field(default_factory=list)
    spans: list[Token] = field(default_factory=list)
    source: str = ""

    @property
    def is_yaml(self) -> bool:
        return self.type == "fence" and self.token.info.split()[:1] in (["yaml"], ["yml"])

    def items(self) -> Iterator["_Block"]:
        """List items in it, however deep."""
        waiting = [self]
        while waiting:
            block = waiting.pop()
            if block.type == "list_item":
                yield block
            waiting.extend(reversed(block.children))


def _blocks(text: str) -> list[_Block]:
    top: list[_Block] = []
    open_: list[_Block] = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.nesting < 0:
            open_.pop()
        elif token.type == "inline":
            open_[-1].spans, open_[-1].source = token.children or [], token.content
        else:
            block = _Block(token.type.removesuffix("_open"), (token.map or [0])[0] + 1, token)
            (open_[-1].children if open_ else top).append(block)
            if token.nesting > 0:
                open_.append(block)
    return top


def _head(item: _Block) -> _Block:
    """The paragraph that an item begins with; an empty one if it begins with something else."""
    first = item.children[0] if item.children else None
    return first if first is not None and first.type == "paragraph" else _Block("paragraph", item.line, item.token)


class _Body:
    """The document's steps in their order."""

    def __init__(self, head: FrontMatter, registry: Registry, mistakes: Mistakes) -> None:
        self._head = head
        self._registry = registry
        self._mistakes = mistakes
        self._steps: list[Step] = []
        self._tried = False

    def steps(self, blocks: list[_Block]) -> list[Step]:
        phase: Phase | None = None
        for block in blocks:
            if block.type == "heading" and block.token.tag in ("h1", "h2"):
                phase = _PHASE_OF.get(_words(block.spans).casefold()) if block.token.tag == "h2" else None
            elif phase is None:
                for item in block.items():
                    if _TASK.match(_head(item).source):
                        self._mistake(item.line, f"a task stands under no phase; put it under {_headings()}")
            elif block.type == "ordered_list":
                for item in block.children:
                    self._group(item, phase)
            elif block.type == "bullet_list":
                for item in block.children:
                    self._item(item, phase, "")
            else:
                self._prose(block)
        if not self._tried:
            self._mistakes.add(1, f"there is no step; under {_headings()} {_TASK_FORM}")
        self._find_twins()
        return self._steps

    def _group(self, item: _Block, phase: Phase) -> None:
        head = _head(item)
        if _LIKE_TASK.match(head.source):
            self._mistake(item.line, f"numbered items are groups, not tasks; {_TASK_FORM} under it")
        elif (code := _last_code(head.spans)) is not None and spans.is_like(code):
            self._mistake(item.line, f"`{code}` stands in a group, where nothing runs; {_TASK_FORM} `{code}`")
        self._see_whole(head)
        name = _words(_bold(head.spans)) or _words(head.spans)
        for block in item.children:
            if block is head:
                continue
            if block.type == "bullet_list":
                for one in block.children:
                    self._item(one, phase, name)
            else:
                self._prose(block)

    def _prose(self, block: _Block) -> None:
        """A block that holds no step; somebody may have meant one."""
        for item in block.items():
            head = _head(item)
            code = _last_code(head.spans)
            if _TASK.match(head.source) or (code is not None and spans.is_like(code)):
                self._mistake(item.line, f"a task is nested; {_TASK_FORM} under the heading or under a numbered item")
        if block.is_yaml:
            self._mistake(block.line, "parameters stand under no task; indent the block as far as the task's text")
        self._see_whole(block)

    def _see_whole(self, block: _Block) -> None:
        """That no task was taken for the text before it."""
        text = block.source if block.type == "paragraph" else block.token.content
        lost = _LOST.search(text) if block.type in ("paragraph", "code_block") else None
        if lost is not None:
            line = block.line + text.count("\n", 0, lost.start())
            instead = f"put a blank line before it, indent it by 0 to 3, and {_TASK_FORM}"
            self._mistake(line, f"{lost[0].strip()!r} begins no list here; {instead}")

    def _mistake(self, line: int, what: str) -> None:
        """About something meant as a step: there being none is no mistake of its own then."""
        self._tried = True
        self._mistakes.add(line, what)

    def _item(self, item: _Block, phase: Phase, group: str) -> None:
        head = _head(item)
        mark = _TASK.match(head.source)
        if mark is None:
            code = _last_code(head.spans)
            if _LIKE_TASK.match(head.source) or (code is not None and spans.is_like(code)):
                self._mistake(item.line, f"this is not quite a task; {_TASK_FORM}")
            for block in item.children:
                self._prose(block)
            return
        self._tried = True
        self._see_whole(head)
        if mark[1] != " ":
            self._mistakes.add(item.line, "it is ticked off already; write `- [ ]`: incidents keep what is done")
            return
        step = self._read(item, head, phase, group)
        if step is not None:
            self._steps.append(step)

    def _read(self, item: _Block, head: _Block, phase: Phase, group: str) -> Step | None:
        written = self._yaml(item, head)
        try:
            span, text = _parts(head)
            if not text:
                raise SpanError(f"it has no text; {_TASK_FORM}")
            if written is None:
                return None
            given = {**written, **span.given}
            twice = [name for name in span.given if name in written]
            if twice:
                raise SpanError(f"{twice[0]} is in the item and in the block under it; remove one")
            return self._step(Step("", span.kind, phase, group, text, item.line), span, given)
        except (SpanError, ActionError) as error:
            self._mistakes.add(item.line, str(error))
            return None

    def _yaml(self, item: _Block, head: _Block) -> dict[str, Any] | None:
        """Parameters from a block under the item; None: they are wrong, which has been said."""
        found: dict[str, Any] = {}
        blocks = 0
        for block in item.children:
            if block is head:
                continue
            if not block.is_yaml:
                self._prose(block)
                continue
            blocks += 1
            if blocks > 1:
                self._mistakes.add(block.line, "this is a second block of parameters; put all into one")
                return None
            try:
                found = {name: one.value for name, one in yaml_values.read(block.token.content, block.line + 1).items()}
            except YamlError as error:
                self._mistakes.add(error.line, error.what)
                return None
        return found

    def _step(self, step: Step, span: Span, given: dict[str, Any]) -> Step:
        """Raises SpanError, ActionError."""
        name, role = given.pop("id", None), given.pop("role", "responder")
        if name is not None and not is_name(name):
            raise SpanError(f"id={name} cannot be one; write small letters, digits and hyphens, at most {LONGEST_NAME}")
        if role not in _ROLES:
            raise SpanError(f"there is no role {role!r}; write {' or '.join(f'role={one}' for one in _ROLES)}")
        key = name or span.action or _slug(step.text)
        if not key:
            raise SpanError("its text makes no name; end the item with `person: id=…`")
        step = replace(step, key=key, role=role)
        if span.action is None:
            if given:
                raise SpanError(f"nothing runs here that takes {next(iter(given))!r}; write only id and role")
            return step
        action = self._registry.get(span.action)
        if lack := action.lacks():
            raise ActionError(f"{lack}; it cannot be used until it says both")
        if span.kind == "check" and action.changes:
            raise ActionError(f"a check only looks, and {action.name} changes something; write `do: …` or `ask: …`")
        every = self._head.clocks.update if span.cadence else span.every
        action.read(given)
        return replace(step, action=action.name, parameters=given, every=every)

    def _find_twins(self) -> None:
        first: dict[str, Step] = {}
        for step in self._steps:
            other = first.setdefault(step.key, step)
            if other is not step:
                form = "end it with `person: id=…`" if step.action is None else "add `id=…` to it"
                self._mistakes.add(step.line, f"it is called {step.key!r} as is line {other.line}; {form}")


def _parts(head: _Block) -> tuple[Span, str]:
    """What a task item says is run, and its text. Raises SpanError."""
    codes = [token.content for token in head.spans if token.type == "code_inline"]
    last = _last_code(head.spans)
    span = spans.read(last) if last is not None else None
    for code in codes[:-1] if last is not None else codes:
        if spans.is_like(code):
            raise SpanError(f"`{code}` is not at the item's end; an item runs one thing, and says so last")
    text = _words(head.spans)
    if span is not None and last is not None:
        text = text.removesuffix(" ".join(last.split()))
    return span or Span("person"), _TASK.sub("", text, count=1).strip()


def _last_code(tokens: list[Token]) -> str | None:
    """The code span that a text ends in."""
    for token in reversed(tokens):
        if token.type == "code_inline":
            return token.content
        if token.content.strip() or token.type in ("softbreak", "hardbreak", "image"):
            return None
    return None


def _bold(tokens: list[Token]) -> list[Token]:
    """The first bold part."""
    found: list[Token] = []
    depth = 0
    for token in tokens:
        depth += token.nesting if token.type in ("strong_open", "strong_close") else 0
        if depth:
            found.append(token)
        elif found:
            break
    return found


def _words(tokens: list[Token]) -> str:
    """The text without its marks, on one line."""
    written = (" " if token.type in ("softbreak", "hardbreak") else token.content for token in tokens
               if token.type != "html_inline")  # fmt: skip
    return " ".join("".join(written).split())


def _slug(text: str) -> str:
    """A step's name from its text: `post-in-the-channel`."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "-".join(re.findall(r"[^\W_]+", plain))[:LONGEST_NAME].rstrip("-")


def _headings() -> str:
    names = [f"`## {heading}`" for heading in PHASES.values()]
    return f"{', '.join(names[:-1])} or {names[-1]}"
