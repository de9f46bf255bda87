"""A chat template that reads the date renders another prompt tomorrow, and is refused today."""

from __future__ import annotations

import json

import pytest

from harness.core.chat_templates import check_template, date_source, folder_templates
from harness.errors import PolicyError

LLAMA_3_2 = """{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}"""


@pytest.mark.parametrize(
    ("template", "clock"),
    [
        (LLAMA_3_2, "strftime_now"),
        ("{{ strftime_now('%Y') }}", "strftime_now"),
        ("{% set today = now() %}{{ today }}", "now"),
        ("{{ utcnow( ) }}", "utcnow"),
        ("{% set d = datetime.now().year %}", "now"),
        ("{{ bos_token }}{% set date_string = '26 Jul 2024' %}", None),
        ("Do it now (please). strftime_now{{ messages }}", None),
        ("{# strftime_now() was here #}{{ messages }}", None),
        ("{{ 'the time is now (noon)' }}{{ \"strftime_now\" }}", None),
        ("{% set know = f(x) %}{{ snow (1) }}", None),
    ],
)
def test_a_call_of_the_clock_is_found_and_its_name_in_a_text_is_not(template, clock):
    assert date_source(template) == clock


def test_the_error_names_the_call_and_the_way_out():
    for template in (LLAMA_3_2, {"default": "{{ messages }}", "tool_use": LLAMA_3_2}):
        with pytest.raises(
            PolicyError, match=r"of org/model reads the date \(strftime_now\).*FILE"
        ):
            check_template(template, "org/model")
    check_template("{{ messages }}", "org/model")
    check_template(None, "org/model")


def test_templates_are_found_wherever_a_folder_keeps_them(tmp_path):
    (tmp_path / "chat_template.jinja").write_text("one")
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "two"}))
    listed = {"chat_template": [{"name": "default", "template": "three"}, {"name": "x"}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(listed))
    assert folder_templates(tmp_path) == ["one", "two", "three"]
    (tmp_path / "tokenizer_config.json").write_text("[]")
    (tmp_path / "chat_template.json").write_text("{")
    assert folder_templates(tmp_path) == ["one"]
