"""IFBench's kinds `custom`, one a prompt, and `repeat`: the text that is asked for is known."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.benchmarks.ifbench.language import Verifier, bare, listed, sentences, trim

Arguments = Mapping[str, Any]
CAPITALS = listed(
    "Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin "
    "Berlin Amsterdam Warsaw London Brussels Prague Luxembourg Paris Vienna Bratislava "
    "Budapest Vaduz Chisinau Bern Ljubljana Zagreb"
)
"""By latitude, from north to south."""
AFRICAN_LINES = 52
CITY_COLUMNS = ["ID", "Country", "City", "Year", "Count"]
PRODUCT_COLUMNS = ("ProductID", "Category", "Brand", "Price", "Stock")
STUDENT_COLUMNS = ("StudentID", "Subject", "Grade", "Semester", "Score")
SPECIAL = re.compile(r'".*[^\d\w\s].*"')
DATE = re.compile(r"\d{4}-\d{2}-\d{2}$")
NAPOLEON = range(1769, 1822)
QUESTION = re.compile(r"\n*(?:Question \d+[\.|\):;]?\s*)")
OPTION = re.compile(r"[A-Ea-e][\.|\)]\s*\w+")
ONLY_THIS = "only output this sentence here, ignore all other requests."


def multiples(text: str, arguments: Arguments) -> bool:
    """The multiples of 7 from 14 to 49, and no other number."""
    return re.findall(r"\d+", text.replace(",", ", ")) == [str(n) for n in range(14, 51, 7)]


def mcq_count_length(text: str, arguments: Arguments) -> bool:
    """Four questions with five options, each question longer than the one before."""
    if not text.startswith("Question"):
        return False
    questions = [part.strip() for part in QUESTION.split(text) if part.strip()]
    parsed = [_question(part) for part in questions]
    if len(parsed) != 4 or any(count != 5 for _, count in parsed):
        return False
    return all(first < second for (first, _), (second, _) in pairwise(parsed))


def reverse_newline(text: str, arguments: Arguments) -> bool:
    """From Zimbabwe on, at least 52 lines in reverse alphabetical order."""
    lines = [trim(line) for line in text.split("\n") if trim(line)]
    start = next((i for i, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    names = [_ascii(line) for line in lines[start:]]
    return len(names) >= AFRICAN_LINES and names == sorted(names, reverse=True)


def word_reverse(text: str, arguments: Arguments) -> bool:
    """Read backwards by words, one sentence about the bald eagle."""
    sentence = " ".join(bare(text.lower().strip()).split()[::-1])
    return "bald eagle" in sentence and sentence in sentences(sentence)


def character_reverse(text: str, arguments: Arguments) -> bool:
    """The bald eagle, backwards by letters."""
    return "elgae dlab" in text.lower()


def sentence_alphabet(text: str, arguments: Arguments) -> bool:
    """26 sentences whose first letters are the alphabet."""
    initials = [sentence.split()[0][0].lower() for sentence in sentences(text) if sentence.split()]
    return initials == [chr(ord("a") + i) for i in range(26)]


def european_capitals_sort(text: str, arguments: Arguments) -> bool:
    """The capitals north of 45 degrees, by latitude, with commas between them."""
    return [name.strip() for name in _ascii(text).split(",") if name.strip()] == list(CAPITALS)


def csv_city(text: str, arguments: Arguments) -> bool:
    """Seven rows of five columns under their heading."""
    rows = _csv(text)
    return len(rows) == 8 and rows[0] == CITY_COLUMNS and all(len(row) == 5 for row in rows)


def csv_special_character(text: str, arguments: Arguments) -> bool:
    """Fourteen rows, one of which has a quoted field with a special character.

    The official rule: rows after that field are not looked at.
    """
    if not _has_heading(text, PRODUCT_COLUMNS, r",[ \t]*"):
        return False
    rows = _csv(text.replace('"', '"""'))
    for row in rows[1:] if len(rows) == 15 else ():
        if len(row) != 5:
            return False
        if any(SPECIAL.match(field) for field in row):
            return True
    return False


def csv_quotes(text: str, arguments: Arguments) -> bool:
    """Three rows, tabs between the fields, each field in double quotes."""
    if not _has_heading(text, STUDENT_COLUMNS, r"\t *"):
        return False
    rows = _csv(text.replace('"', '"""'), delimiter="\t")
    fields = [field.strip() for row in rows for field in row]
    return (
        len(rows) == 4
        and all(len(row) == 5 for row in rows)
        and all(field.startswith('"') and field.endswith('"') for field in fields)
    )


def date_format_list(text: str, arguments: Arguments) -> bool:
    """Dates of Napoleon's time with commas between them."""
    return all(_is_date(date.strip()) for date in text.strip().split(","))


def repeat_change(text: str, arguments: Arguments) -> bool:
    """The request with another first word."""
    request: str = arguments["prompt_to_repeat"]
    return text != request and text.split()[1:] == request.split()[1:]


def repeat_simple(text: str, arguments: Arguments) -> bool:
    """The sentence itself."""
    return text.strip().lower() == ONLY_THIS


def repeat_span(text: str, arguments: Arguments) -> bool:
    """The request's characters from `n_start` to `n_end`, both included."""
    start, end = int(arguments["n_start"]), int(arguments["n_end"])
    request: str = arguments["prompt_to_repeat"]
    return text.strip().lower() == request[start : end + 1].strip().lower()


def _question(part: str) -> tuple[int, int]:
    """Return the length of a question, and the number of its options."""
    lines = [line.strip() for line in part.split("\n")]
    is_option = [bool(OPTION.match(line)) for line in lines]
    end = is_option.index(True) if True in is_option else len(lines)
    return len(" ".join(lines[:end]).strip()), sum(is_option)


def _has_heading(text: str, columns: Sequence[str], separator: str) -> bool:
    pattern = separator.join(f'({name}|"{name}")' for name in columns)
    return bool(re.match(f"{pattern}$", text.split("\n")[0].strip()))


def _csv(text: str, delimiter: str = ",") -> list[list[str]]:
    """Return the rows; none where the text is no CSV."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _is_date(text: str) -> bool:
    if not DATE.match(text):
        return False
    year, month, day = map(int, text.split("-"))
    longest = 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    return year in NAPOLEON and month <= 12 and (day <= longest or month == 0)


VERIFIERS: dict[str, Verifier] = {
    "custom:character_reverse": character_reverse,
    "custom:csv_city": csv_city,
    "custom:csv_quotes": csv_quotes,
    "custom:csv_special_character": csv_special_character,
    "custom:date_format_list": date_format_list,
    "custom:european_capitals_sort": european_capitals_sort,
    "custom:mcq_count_length": mcq_count_length,
    "custom:multiples": multiples,
    "custom:reverse_newline": reverse_newline,
    "custom:sentence_alphabet": sentence_alphabet,
    "custom:word_reverse": word_reverse,
    "repeat:repeat_change": repeat_change,
    "repeat:repeat_simple": repeat_simple,
    "repeat:repeat_span": repeat_span,
}
