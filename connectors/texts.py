"""Text that comes from outside: what an id may be, which characters are never shown as they are, and what was probably meant.

An id goes into keys, paths, headers, logs and reports. So it is bounded and has no character that cannot be seen or that
changes how its neighbours are shown: control characters, line separators, and marks that reorder text (Unicode's bidirectional
controls, which make `abc` look like `cba`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from schemas.near import nearest

MAX_ID = 200
MOST_LISTED = 50  # names in one sentence
MAX_PATH_ID = 1_000  # of a path: a dead letter's, an exception's or a table's key is made of several ids
_CONTROLS = "\x00-\x1f\x7f-\x9f"
_INVISIBLE = "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
ID_PATTERN = f"^[^{_CONTROLS}{_INVISIBLE}]*[^{_CONTROLS}{_INVISIBLE}\\s][^{_CONTROLS}{_INVISIBLE}]*$"
NOTE_PATTERN = f"^(?:[^{_CONTROLS}{_INVISIBLE}]|[\t\n\r])*$"
_UNSHOWN = re.compile(f"[{_CONTROLS}{_INVISIBLE}\ud800-\udfff]")
_USER = re.compile(r"""(:/+)[^\s'"<>]*@""")
_UNSHOWN_IN_LINES = re.compile(f"(?![\t\n])[{_CONTROLS}{_INVISIBLE}\ud800-\udfff]")


def is_id(text: str, most: int = MAX_ID) -> bool:
    """Whether a text may be an id."""
    return 0 < len(text) <= most and _UNSHOWN.search(text) is None


def visible(text: str) -> str:
    """The text with what cannot be seen, or would command a terminal, written out, like U+202E. Lines and tabs stay."""
    return _UNSHOWN_IN_LINES.sub(_escaped, text)


def one_line(text: str, most: int) -> str:
    """The text in one line of at most `most` characters, with all that cannot be seen written out."""
    shown = _UNSHOWN.sub(_escaped, text[:most])
    return shown if len(shown) <= most and len(text) <= most else shown[: most - 1] + "…"


def visible_json(text: str) -> str:
    """The same for a JSON document: what it means stays the same, because JSON has escapes of its own for these."""
    return _UNSHOWN_IN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def masked(text: str) -> str:
    """The text with the user and password of every address in it left out: they are not for logs, screens and other people."""
    return _USER.sub(r"\1***@", text)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name there is not: what was probably meant, and what there is."""
    return f"There is no {kind} {name[:60]!r} here. {suggestion(kind, name, known)}"


def suggestion(kind: str, name: str, known: Iterable[str]) -> str:
    """What was probably meant by a name there is not, and what there is: the first of many."""
    names = sorted(known)
    if not names:
        return f"There is no {kind} here at all."
    more = f" and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    there = f"There are: {', '.join(names[:MOST_LISTED])}{more}."
    return f"{meant(name, names)} {there}".strip()


def meant(name: str, known: Iterable[str]) -> str:
    """A question at the end of a sentence, if there is a name that was probably meant."""
    near = nearest(name[:MAX_ID], known)
    return f" Did you mean {near!r}?" if near else ""
