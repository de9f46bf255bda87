"""IFBench's kind `format`: nesting, lists, indentation, templates."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from harness.benchmarks.ifbench.language import Verifier, bare, is_emoji, sentences, tokens, trim

Arguments = Mapping[str, Any]
BRACKETS = {")": "(", "]": "[", "}": "{"}
BRACKET_DEPTH, QUOTE_DEPTH = 5, 3
LETTERED = re.compile(r"\W*[aA]\W*[bB]\W*[cC]\W*")
"""Options that are letters, which must be given exactly."""
TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")


def parentheses(text: str, arguments: Arguments) -> bool:
    """Brackets that close properly, five deep; a wrong one begins anew."""
    opened: list[str] = []
    deepest = 0
    for character in text:
        if character in BRACKETS.values():
            opened.append(character)
            deepest = max(deepest, len(opened))
        elif character in BRACKETS:
            if opened and opened[-1] == BRACKETS[character]:
                opened.pop()
                if deepest >= BRACKET_DEPTH:
                    return True
            else:
                opened, deepest = [], 0
    return False


def quotes(text: str, arguments: Arguments) -> bool:
    """Double and single quotes by turns, three deep, and closed again."""
    opened: list[str] = []
    deepest = 0
    for character in text:
        if opened and character == opened[-1]:
            opened.pop()
            if deepest - len(opened) >= QUOTE_DEPTH:
                return True
        elif character in "\"'":
            opened.append(character)
            deepest = max(deepest, len(opened))
    return False


def options(text: str, arguments: Arguments) -> bool:
    """One of the options and nothing else."""
    listed: str = arguments["options"]
    separator = next((mark for mark in ("/", "or") if mark in listed), ",")
    choices = [choice.strip() for choice in listed.split(separator)]
    if LETTERED.match(listed):
        return text in choices
    return trim(text).lower() in [trim(choice).lower() for choice in choices]


def newline(text: str, arguments: Arguments) -> bool:
    """Each word on a line of its own."""
    lines = [line for line in bare(text).strip().split("\n") if line]
    return len(lines) == len(bare(text).split())


def emoji_ends(text: str, arguments: Arguments) -> bool:
    """An emoji at the end of each sentence, or at the start of what nltk takes for the next."""
    every = [bare(sentence).strip() for sentence in sentences(text)]
    followers = [*every[1:], None]
    for sentence, follower in zip(every, followers, strict=True):
        if not sentence:
            return False
        if not any(is_emoji(character) for character in sentence[-2:]) and not (
            follower and is_emoji(follower[0])
        ):
            return False
    return True


def line_indent(text: str, arguments: Arguments) -> bool:
    """Each line is indented further than the one before.

    The official rule: of several blank lines in a row it leaves some, which then count as lines.
    """
    lines, index = text.split("\n"), 0
    while index < len(lines):
        if not lines[index].strip():
            lines.remove(lines[index])
        index += 1
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(second > first for first, second in pairwise(indents))


def quote_unquote(text: str, arguments: Arguments) -> bool:
    """No quotation right after another, and none at the end."""
    joined = "".join(text.replace("'\"'", "").split())
    end = joined.strip(string.digits + string.punctuation.replace('"', ""))
    return '""' not in joined and not end.endswith('"')


def separator_list(text: str, arguments: Arguments) -> bool:
    """`sep` twice or more."""
    return text.count(arguments["sep"]) >= 2


def thesis(text: str, arguments: Arguments) -> bool:
    """Something in HTML's italics, and something after it."""
    starts = [text.find(tag) for tag in ("<i>", "<em>")]
    start = starts[0] if starts[0] >= 0 else starts[1]
    if start < 0:
        return False
    rest = text[start:]
    ends = [rest.find(tag) for tag in ("</i>", "</em>")]
    end = ends[0] if ends[0] >= 0 else ends[1]
    return end >= 0 and bool(rest[3:end].strip()) and bool(rest[end + 4 :].strip())


def sub_bullets(text: str, arguments: Arguments) -> bool:
    """A dash after each asterisk, before the next."""
    return all("-" in bullet for bullet in text.split("*")[1:])


def no_bullets_bullets(text: str, arguments: Arguments) -> bool:
    """Two sentences or more, then two lines with asterisks or more, and nothing else."""
    count, bullets, in_sentences = 0, 0, True
    for line in text.split("\n"):
        if line.strip().startswith("*"):
            in_sentences = False
            if count < 2:
                return False
            bullets += 1
        elif in_sentences:
            every = sentences(line.strip())
            in_sentences = bool(every)  # the official rule: a blank line ends the sentences
            count += len(every)
        else:
            return False
    return bullets >= 2


def title_case(text: str, arguments: Arguments) -> bool:
    """No word begins small, unless capitals and small letters are mixed in the rest of it."""
    return not any(_begins_small(token) for token in tokens(text) if token[:1].isalpha())


def output_template(text: str, arguments: Arguments) -> bool:
    """The three headings."""
    return all(heading in text for heading in TEMPLATE)


def no_whitespace(text: str, arguments: Arguments) -> bool:
    """No white space."""
    return not any(character.isspace() for character in text)


def _begins_small(token: str) -> bool:
    rest = token[1:]
    return token[0].islower() and (not rest or rest.isupper() or rest.islower())


VERIFIERS: dict[str, Verifier] = {
    "format:emoji": emoji_ends,
    "format:line_indent": line_indent,
    "format:list": separator_list,
    "format:newline": newline,
    "format:no_bullets_bullets": no_bullets_bullets,
    "format:no_whitespace": no_whitespace,
    "format:options": options,
    "format:output_template": output_template,
    "format:parentheses": parentheses,
    "format:quote_unquote": quote_unquote,
    "format:quotes": quotes,
    "format:sub-bullets": sub_bullets,
    "format:thesis": thesis,
    "format:title_case": title_case,
}
