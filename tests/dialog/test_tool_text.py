"""How calls are told from words, whatever the pieces they come in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.dialog.tool_text import ToolText

CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
OTHER = '{"name": "set_timer", "arguments": {"minutes": 5}}'
FORMS = [
    (f"<tool_call>\n{CALL}\n</tool_call>", "", [CALL]),
    (f"Let me look.\n<tool_call>\n{CALL}\n</tool_call>", "Let me look.", [CALL]),
    (f"<tool_call>{CALL}</tool_call>\n<tool_call>{OTHER}</tool_call>", "", [CALL, OTHER]),
    (f"<tools>\n{CALL}\n</tools>", "", [CALL]),
    (CALL, "", [CALL]),
    (f"{CALL}\n{OTHER}", "", [CALL, OTHER]),
    (f"[{CALL}, {OTHER}]", "", [CALL, OTHER]),
    (f"Sure.\n\n```json\n{CALL}\n```\nDone!", "Sure.", [CALL]),
    (f'{CALL}\nThe weather is {{"fine"}}.', "", [CALL]),
    ("<tool_call>\nget_weather(Paris)\n</tool_call> Well.", "", ["get_weather(Paris)"]),
    ('<tool_call>\n{"name": "a", "arguments": {"b": 1}\n</tool_call>', "",
     ['{"name": "a", "arguments": {"b": 1}']),
    ("<tool_call>\n{'name': 'a'", "", ["{'name': 'a'"]),
    ("<tool_call>", "", []),
    ("Is 3 < 4? Yes <b>it</b> is, {really}.", "Is 3 < 4? Yes <b>it</b> is, {really}.", []),
    ("Write `x` or\n```python\nprint(1)\n```", "Write `x` or\n```python\nprint(1)\n```", []),
    ("[Here](a link) it is.\n", "[Here](a link) it is.", []),
    ("", "", []),
]  # fmt: skip


def pieces(text: str, cuts: list[int]) -> list[str]:
    bounds = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(bounds)]


def read(parts: list[str]) -> tuple[str, list[str]]:
    tool_text = ToolText()
    words = "".join([*map(tool_text.feed, parts), tool_text.finish()])
    return words, tool_text.calls


@pytest.mark.parametrize(("text", "words", "calls"), FORMS)
def test_words_are_words_and_calls_are_calls(text: str, words: str, calls: list[str]) -> None:
    assert read([text]) == (words, calls)
    assert read(list(text)) == (words, calls)


@given(st.sampled_from([text for text, *_ in FORMS]), st.lists(st.integers(0, 200)))
def test_how_it_was_cut_does_not_matter(text: str, cuts: list[int]) -> None:
    assert read(pieces(text, cuts)) == read([text])


@given(
    st.text("ab {}[]\"'`<>/\n:,", max_size=40),
    st.text("ab {}[]\"'`<>/\n:,", max_size=40),
    st.lists(st.integers(0, 200)),
)
def test_what_follows_an_opener_is_never_said(before: str, junk: str, cuts: list[int]) -> None:
    text = f"{before}<tool_call>{junk}"
    words, calls = read(pieces(text, cuts))
    assert before.startswith(words)
    assert (words, calls) == read([text])


def test_a_reply_that_was_begun_as_a_call_has_no_words() -> None:
    tool_text = ToolText()
    tool_text.feed('<tool_call>\n{"name": "')
    assert tool_text.is_calling
    assert tool_text.feed('get_weather", "arguments": {"city": "Paris"}} and so on') == ""
    assert tool_text.calls == [CALL]
    assert tool_text.is_over
