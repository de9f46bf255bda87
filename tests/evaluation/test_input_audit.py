"""The audit before the judge: how prompts are rendered, how answers ended."""

import shutil
from pathlib import Path

import pytest

from harness.evaluation import input_audit
from harness.types import Answer, Answers, Message, Policy, Prompt

PROMPTS = [Prompt("sort b a", (Message("user", "sort b a"),))]
BOS_TWICE = "{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"


BOS_A_TURN = "{% for m in messages %}{{ bos_token }}{{ m.content }}{% endfor %}{{ bos_token }}"


@pytest.fixture
def policy(tiny_policy, tmp_path):
    """A copy of the tiny policy, so that a test may change its tokenizer files."""
    folder = tmp_path / "policy"
    shutil.copytree(tiny_policy, folder)
    return Policy("tiny", str(folder))


def levels(findings):
    return [finding.level for finding in findings]


def test_a_sound_policy_has_no_findings(policy):
    facts = input_audit.rendering_facts(policy, PROMPTS)
    assert facts["own_template"]
    assert facts["leading_bos"] == 0
    assert len(facts["ends"]) == 1
    assert facts["longest_prompt"] > 3
    assert input_audit.check_rendering(facts) == []


def test_two_beginnings_of_text_stop_it(policy):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy.path)
    tokenizer.add_special_tokens({"bos_token": "<|user|>"})
    tokenizer.chat_template = BOS_TWICE
    tokenizer.save_pretrained(policy.path)
    (finding,) = input_audit.check_rendering(input_audit.rendering_facts(policy, PROMPTS))
    assert finding.level == "stop"
    assert "2 beginning-of-text tokens" in finding.message
    assert "chat_template" in finding.message


def test_no_end_of_text_stops_it(policy):
    facts = input_audit.rendering_facts(policy, PROMPTS) | {"ends": []}
    assert levels(input_audit.check_rendering(facts)) == ["stop"]


def test_another_template_is_reported(policy, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    changed = Policy("tiny", policy.path, chat_template=str(template))
    facts = input_audit.rendering_facts(changed, PROMPTS)
    assert levels(input_audit.check_rendering(facts)) == ["warning"]
    assert (
        facts["chat_template_sha256"]
        != input_audit.rendering_facts(policy, PROMPTS)["chat_template_sha256"]
    )


def test_what_has_no_tokenizer_cannot_be_looked_at():
    assert input_audit.rendering_facts(Policy("canned", "canned"), PROMPTS) is None
    assert input_audit.check_rendering(None) == []
    assert not Path("canned").exists()


def answers(*endings):
    return [Answer(str(i), text, reason) for i, (text, reason) in enumerate(endings)]


def test_empty_and_truncated_answers_are_counted():
    graded = answers(("a", "stop"), ("", "stop"), ("b", "length"), ("c", None))
    findings = input_audit.check_answers(graded)
    assert levels(findings) == ["warning", "warning"]
    assert "1 of 4 answers are empty" in findings[0].message
    assert input_audit.truncated_share(graded) == pytest.approx(1 / 3)
    assert input_audit.finish_reasons(graded) == {"length": 1, "stop": 2, "unknown": 1}


def test_nothing_but_empty_answers_stops_it():
    assert levels(input_audit.check_answers(answers(("", "stop"), (" ", "length"))))[0] == "stop"


def test_a_file_that_does_not_tell_how_answers_ended_has_no_share():
    assert input_audit.truncated_share(answers(("a", None))) is None
    assert input_audit.check_answers(answers(("a", None))) == []


def test_another_judges_references_stop_it():
    prompts = [Prompt("81#1", (), {"references": "gpt-4"}), Prompt("82#1", (), {"category": "x"})]
    assert input_audit.check_references(prompts, "gpt-4") == []
    assert input_audit.check_references(prompts[1:], "mine") == []
    (finding,) = input_audit.check_references(prompts, "mine")
    assert finding.level == "stop"
    assert finding.message.startswith("mine would judge against the reference answers of gpt-4")
    assert "--set references=FILE" in finding.message


def test_a_beginning_of_text_a_turn_is_no_fault(policy):
    """ChatML models of SmolLM2's kind begin every turn with their beginning-of-text token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy.path)
    tokenizer.add_special_tokens({"bos_token": "<|user|>"})
    tokenizer.chat_template = BOS_A_TURN
    tokenizer.save_pretrained(policy.path)
    facts = input_audit.rendering_facts(policy, PROMPTS)
    assert facts["leading_bos"] <= 1
    assert input_audit.check_rendering(facts) == []
    old = {**facts, "bos_count": 3}  # as answers of earlier versions recorded it
    del old["leading_bos"]
    assert input_audit.check_rendering(old) == []


@pytest.mark.parametrize(
    "text",
    ["<think>hm</think>yes", " <think>", "hm</think>\nyes", "[THINK]x", "yes<|eot_id|>",
     "yes</s>\n", "yes<|im_end|>", "$ERROR$", "yes<end_of_turn>",
     "<|channel|>analysis<|message|>hm", "<thought>hm", "hm<|END_THINKING|>yes", "yes<|assistant|>",
     "yes<|END_OF_TURN_TOKEN|>", "yes [/INST]", "yes<pad>"],
)  # fmt: skip
def test_what_a_faulty_pipeline_leaves_behind_is_seen(text):
    (stop,) = input_audit.check_answers(answers(*[(text, None)] * 3))
    assert stop.level == "stop"
    assert stop.message.startswith("3 of 3 answers ")
    (warning,) = input_audit.check_answers(answers((text, None), *[("fine", None)] * 200))
    assert warning.level == "warning"


@pytest.mark.parametrize(
    "text",
    ["Put your plan into a <think> tag.", "</s> ends a text.", "It prints $ERROR$ there.",
     "Use f <| x |> g.", "a <|> b <|>", "A <thought> of mine: <|im_end|> ends a turn."],
)  # fmt: skip
def test_answers_about_such_texts_are_not(text):
    assert input_audit.check_answers(answers((text, None))) == []


def test_answers_to_translated_prompts_under_the_same_ids_stop_it():
    graded = tuple(answers(("a", None), ("b", None)))
    (finding,) = input_audit.check_quotes(Answers("me", graded, 0, ("1",)))
    assert finding.level == "stop"
    assert "1 of 2 answers are to other prompts" in finding.message
    assert input_audit.check_quotes(Answers("me", graded)) == []
