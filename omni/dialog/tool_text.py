"""Finds the calls of tools in a core's writing as it comes, and keeps them from being spoken.

Hides the forms in which models write a call: Hermes tags, a bare JSON object on a line of its own,
a fenced one. Law: words and calls do not depend on how the writing was cut into pieces.
"""

import json
import re
from typing import Final

_OPENER: Final = re.compile(
    r"<tool_calls?>|<tools>|^[ \t]*(?:```[a-z]*\s*)?\[?\s*(?=\{)", re.MULTILINE
)
_TAGS: Final = ("<tool_call>", "<tool_calls>", "<tools>")
_MAYBE_OPENER: Final = re.compile(r"^[ \t]*(?:`{1,2}|```[a-z]*\s*)?\[?\s*\Z", re.MULTILINE)
_BETWEEN: Final = re.compile(r"(?:\s|[\[\],;`]|json\b|</?tool_calls?>|</?tools>)*")
_END: Final = re.compile(r"</tool_calls?>|</tools>")
_SIGNS: Final = (*_TAGS, "</tool_call>", "</tool_calls>", "</tools>", "json")
_JSON: Final = json.JSONDecoder(strict=False)


class ToolText:
    """One reply's writing, taken apart.

    `calls`: each call's raw text so far, oldest first; nobody has checked them.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_over = False  # a call was followed by what is none: nothing of use comes any more
        self._text = ""
        self._num_said = 0
        self._at: int | None = None  # where the next call is looked for, once there was an opener

    @property
    def is_calling(self) -> bool:
        """The words are over; calls follow."""
        return self._at is not None

    def feed(self, delta: str) -> str:
        """Add writing; returns the words that it completed."""
        self._text += delta
        if self._at is not None:
            self._read_calls()
            return ""
        opener = _OPENER.search(self._text, self._num_said)
        if opener is None:
            return self._say(self._safe_end())
        words = self._say(opener.start())
        self._at = opener.end()
        self._read_calls()
        return words

    def finish(self) -> str:
        """The writing has ended: the words that were held back; a call left open is one."""
        if self._at is None:
            return self._say(len(self._text))
        start = self._call_start(self._at)
        rest = _END.split(self._text[start:])[0].strip("`[], \n")
        if rest and not self.is_over and (rest[0] == "{" or not self.calls):
            self.calls.append(rest)
        self.is_over = True
        return ""

    def _say(self, end: int) -> str:
        """The words up to `end`, but for white space that nothing follows yet."""
        end = max(self._num_said, len(self._text[:end].rstrip()))
        words = self._text[self._num_said : end]
        self._num_said = end
        return words

    def _safe_end(self) -> int:
        """Where the words end that surely open no call."""
        ends = [len(self._text)]
        if maybe := _MAYBE_OPENER.search(self._text, self._num_said):
            ends.append(maybe.start())
        tag = self._text.rfind("<")
        if tag >= 0 and any(name.startswith(self._text[tag:]) for name in _TAGS):
            ends.append(tag)
        return min(ends)

    def _read_calls(self) -> None:
        """Take every complete call after the opener."""
        while not self.is_over and self._at is not None:
            start = self._call_start(self._at)
            rest = self._text[start:]
            if not rest or any(sign.startswith(rest) for sign in _SIGNS):
                return
            if rest[0] != "{" and self.calls:
                self.is_over = True
                return
            end = self._call_end(start)
            if end is None:
                return
            self.calls.append(self._text[start:end].strip())
            self._at = end

    def _call_start(self, at: int) -> int:
        between = _BETWEEN.match(self._text, at)
        return between.end() if between else at

    def _call_end(self, start: int) -> int | None:
        """Where the call ends that starts here: its JSON's end, or a closing tag."""
        if self._text[start] == "{":
            try:
                return _JSON.raw_decode(self._text, start)[1]
            except (ValueError, RecursionError):
                pass
        end = _END.search(self._text, start)
        return end.start() if end else None
