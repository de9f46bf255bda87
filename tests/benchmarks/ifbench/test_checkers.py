"""IFBench's verifiers, each with a text that follows it and one that does not."""

import string

import pytest

from harness.benchmarks.ifbench import checkers, language, single
from harness.benchmarks.ifbench.checkers import VERIFIERS, IFBenchCheckers
from harness.benchmarks.ifeval import language_data
from harness.benchmarks.ifeval.constraints import ConstrainedPrompt, Constraint, check_answer
from harness.core.config import build, load
from harness.core.hub import ASSETS_VARIABLE
from harness.errors import CheckError, MissingDependencyError

pytest.importorskip("nltk")

KEYWORDS = {f"keyword{i}": word for i, word in enumerate("one two six ten far".split(), 1)}
NESTED = '"a \'b "c" b\' a"'
QUIZ = "".join(
    f"Question {n}. {'x' * n}\n" + "".join(f"{c}) opt\n" for c in "ABCDE") for n in range(1, 5)
)
CITIES = "ID,Country,City,Year,Count" + "\n1,a,b,2,3" * 7
PRODUCTS = "ProductID,Category,Brand,Price,Stock" + '\n1,a,"b!",2,3' * 14
STUDENTS = '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"' + '\n"1"\t"a"\t"b"\t"c"\t"d"' * 3
AFRICA = "\n".join(sorted(["Zimbabwe", *(f"A{c}" for c in "b" * 55)], reverse=True))
REQUEST = {"prompt_to_repeat": "Say it twice"}

EXAMPLES = [
    ("count:conjunctions", {"small_n": 2.0}, "this and that but", "this and that"),
    ("count:conjunctions", {"small_n": 2.0}, "And so and", "and and"),
    (
        "count:keywords_multiple",
        KEYWORDS,
        "one" + "two" * 2 + "six" * 3 + "ten" * 5 + "far" * 7,
        "one",
    ),
    ("count:numbers", {"N": 2.0}, "1,000 and 2.5", "1 000 and 2"),
    ("count:person_names", {"N": 2.0}, "Emma met Liam", "Emmanuel met Liam"),
    ("count:punctuation", {}, "a?! b. c, d? e! f; g: h", "a. b, c? d! e; f:"),
    ("count:unique_word_count", {"N": 2.0}, "one two", "One, one."),
    ("count:word_count_range", {"min_words": 2.0, "max_words": 3.0}, "it's", "a b c d"),
    ("count:words_japanese", {"N": 2.0}, "a 猫 b 犬", "a 猫 b c"),
    ("ratio:overlap", {"percentage": 50.0, "reference_text": "abcd"}, "abcdef", "abcd"),
    ("words:alphabet", {}, "Yes, zebras are best", "Yes, zebras best"),
    ("words:consonants", {}, "strong stops", "a stop"),
    ("words:no_consecutive", {}, "a big cat", "a big bat"),
    ("words:palindrome", {}, "level " * 10, "level " * 9),
    ("words:paragraph_last_first", {}, "a b A.\n\nc", "a b"),
    ("words:prime_lengths", {}, "it was", "it will"),
    ("words:repeats", {"small_n": 1.0}, "a b", "a A"),
    ("words:vowel", {}, "banana bed bit", "banana bed bit pot"),
    ("format:line_indent", {}, "a\n\n b\n  c", "a\nb"),
    ("format:line_indent", {}, "a\n b", "a\n\n\n b"),
    ("format:list", {"sep": "!?!?"}, "!?!? a\n!?!? b", "!?!? a"),
    ("format:newline", {}, "a\n\nb", "a b"),
    ("format:no_whitespace", {}, "ab", "a b"),
    ("format:options", {"options": "yes/no/maybe"}, "Maybe.", "yes or no"),
    ("format:options", {"options": "a), b), c), d)"}, "a)", "a"),
    ("format:output_template", {}, "My Answer: My Conclusion: Future Outlook:", "My Answer:"),
    ("format:parentheses", {}, "([{([x])}])", "([{(x)}])"),
    ("format:parentheses", {}, "(((((x)", "((((x))))"),
    ("format:quote_unquote", {}, 'he said "a" and left', 'he said "a"'),
    ("format:quotes", {}, NESTED, "\"a 'b' a\""),
    ("format:sub-bullets", {}, "* a\n - b", "* a\n* b - c"),
    ("format:thesis", {}, "<i>a</i> b", "<i>a</i>"),
    ("custom:character_reverse", {}, "Elgae dlab", "bald eagle"),
    ("custom:csv_city", {}, CITIES, CITIES + "\n1,a,b,2,3"),
    ("custom:csv_quotes", {}, STUDENTS, STUDENTS.replace('"d"', "d")),
    ("custom:csv_special_character", {}, PRODUCTS, PRODUCTS.replace("!", "")),
    ("custom:date_format_list", {}, "1800-02-29, 1812-06-24", "1800-02-30"),
    ("custom:european_capitals_sort", {}, ", ".join(single.CAPITALS), "Oslo, Rome"),
    ("custom:mcq_count_length", {}, QUIZ, QUIZ.replace("xxxx", "x")),
    ("custom:multiples", {}, "14,21, 28 35 42 49", "7, 14, 21, 28, 35, 42, 49"),
    ("custom:reverse_newline", {}, AFRICA, AFRICA.replace("Zimbabwe", "Aa")),
    ("repeat:repeat_change", REQUEST, "Do it twice", "Say it twice"),
    ("repeat:repeat_simple", {}, single.ONLY_THIS.title(), "Only output this"),
    ("repeat:repeat_span", REQUEST | {"n_start": 4, "n_end": 5}, "IT", "it t"),
]
WITH_SENTENCES = [
    ("count:pronouns", {"N": 2.0}, "she/her", "she"),
    (
        "custom:sentence_alphabet",
        {},
        " ".join(f"{c}x yes." for c in string.ascii_uppercase),
        "Ax yes.",
    ),
    ("custom:word_reverse", {}, "symbol the is eagle bald", "bald eagle is it"),
    ("format:no_bullets_bullets", {}, "One. Two.\n* a\n* b", "One.\n* a\n* b"),
    ("format:no_bullets_bullets", {}, "A b. C d.\n* a\n* b", "A b.\n\nC d.\n* a\n* b"),
    ("format:title_case", {}, "The NASA iPhone", "The phone"),
    ("ratio:sentence_balance", {}, "One. Two? Three!", "One. Two?"),
    ("ratio:sentence_type", {}, "One. Two. Three?", "One. Two?"),
    ("ratio:sentence_words", {}, "One a. Two b. Six c.", "One a. Two b."),
    ("sentence:alliteration_increment", {}, "One two. Big bad cat.", "Big bad cat. One two."),
    ("sentence:increment", {"small_n": 1.0}, "One. Two words.", "One. Two."),
    ("sentence:keyword", {"word": "it", "N": 2.0}, "One. It is.", "It is. One."),
    ("words:keywords_specific_position", {"keyword": "b", "n": 2, "m": 2}, "A. A, b.", "A b. C."),
    ("words:last_first", {}, "It is late. Late it is.", "It is late. It is."),
    ("words:words_position", {"keyword": "b"}, "A b c b d.", "A b c d."),
]


@pytest.fixture
def bench(shared, monkeypatch):
    monkeypatch.setenv(ASSETS_VARIABLE, str(shared / "assets"))
    return build(load("bench", "ifbench"))


@pytest.mark.parametrize(("kind", "arguments", "follows", "fails"), EXAMPLES)
def test_a_verifier(kind, arguments, follows, fails):
    assert VERIFIERS[kind](follows, arguments) is True
    assert VERIFIERS[kind](fails, arguments) is False


@pytest.mark.parametrize(("kind", "arguments", "follows", "fails"), WITH_SENTENCES)
def test_a_verifier_of_sentences(kind, arguments, follows, fails):
    if not language_data.has_data(language_data.SENTENCES):
        pytest.skip("nltk's punkt_tab is not installed")
    test_a_verifier(kind, arguments, follows, fails)


def test_syllables_and_emoji_need_their_packages(monkeypatch):
    monkeypatch.setattr(language, "syllables", len)
    monkeypatch.setattr("harness.benchmarks.ifbench.wording.syllables", len)
    assert VERIFIERS["words:odd_even_syllables"]("a be see", {})
    assert not VERIFIERS["words:odd_even_syllables"]("a be it", {})
    monkeypatch.setattr("harness.benchmarks.ifbench.layout.is_emoji", lambda c: c == "☺")
    monkeypatch.setattr("harness.benchmarks.ifbench.layout.sentences", lambda t: t.split("/"))
    assert VERIFIERS["format:emoji"]("Hi ☺/You ☺!", {})
    assert VERIFIERS["format:emoji"]("Hi./☺ You ☺", {})
    assert not VERIFIERS["format:emoji"]("Hi ☺/You.", {})


def test_every_kind_of_the_test_set_has_a_verifier_and_an_example(bench):
    asked = {c.kind for question in bench._questions() for c in question.constraints}
    assert asked == set(VERIFIERS)
    examples = {example[0] for example in EXAMPLES + WITH_SENTENCES}
    assert set(VERIFIERS) - examples == {
        *("words:start_verb", "words:odd_even_syllables", "format:emoji", "ratio:stop_words")
    }
    assert {example[0] for example in WITH_SENTENCES} < checkers.SENTENCE_KINDS


def test_what_cannot_be_checked_here_is_named_and_counts_as_not_followed(monkeypatch):
    monkeypatch.setattr(language_data, "has_data", lambda name: False)
    checkers._missing.cache_clear()
    own = IFBenchCheckers()
    assert "averaged_perceptron_tagger_eng" in own.unavailable("words:start_verb")
    assert "does not know it" in own.unavailable("new:kind")
    question = ConstrainedPrompt(
        "q", "?", (Constraint("words:start_verb", {}), Constraint("new:kind", {}))
    )
    outcome = check_answer(own, question, "Go.")
    assert outcome.unchecked == ("words:start_verb", "new:kind")
    for kind, data in {"sentence:increment": "punkt_tab", "ratio:stop_words": "stopwords"}.items():
        with pytest.raises(MissingDependencyError, match=data):
            own.require({kind})
    checkers._missing.cache_clear()


def test_arguments_that_do_not_fit(monkeypatch):
    monkeypatch.setattr(checkers, "_official", lambda: None)
    with pytest.raises(CheckError, match="count:numbers cannot be checked with {}"):
        IFBenchCheckers().keeps(Constraint("count:numbers", {}), "?", "1")


def test_the_package_is_used_where_it_is_installed(monkeypatch):
    class Official:
        def __init__(self, kind):
            pass

        def build_description(self, *, N):
            self.number = N

        def check_following(self, text):
            return text.split()[5] == self.number

    monkeypatch.setattr(checkers, "_official", lambda: {"count:numbers": Official})
    own = IFBenchCheckers()
    assert own.version() == "ifbench, version unknown"
    constraint = Constraint("count:numbers", {"N": "f"})
    assert own.keeps(constraint, "?", "a b c d e f")
    assert not own.keeps(constraint, "?", "a")  # an error of the official verifier


def test_the_stored_run(bench):
    figures = {figure.metric: figure for figure in bench.published()}
    assert all(figure.holds for figure in figures.values())
    assert figures["stored run prompt_level_strict"].recomputed == 100 * 77 / 294
