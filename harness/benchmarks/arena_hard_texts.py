"""The judge's texts of Arena-Hard, taken out of the settings file of arena-hard-auto's repository.

The v2.0 prompt is v0.1's; for creative writing the judge is not told to answer first.
"""

from __future__ import annotations

from typing import Any

import yaml

from harness.config import Component
from harness.errors import AssetError

PATTERNS = (r"\[\[([AB<>=]+)\]\]", r"\[([AB<>=]+)\]")
PLACES = {"{question_1}": "{QUESTION}", "{answer_1}": "{ANSWER_A}", "{answer_2}": "{ANSWER_B}"}
SOURCE = "lmarena/arena-hard-auto utils/judge_utils.py and config/arena-hard-{}.yaml (Apache-2.0)"
BASELINES = {"hard_prompt": "o3-mini-2025-01-31", "creative_writing": "gemini-2.0-flash-001"}
OWN_ANSWER = (
    "Begin your evaluation by generating your own answer to the prompt. You must provide your "
    "answers before judging any answers.\n\n"
)
WITH_OWN = "answers with your answer."


class V01(Component):
    """`protocol.json` of v0.1."""

    def make(self, text: str) -> dict[str, Any]:
        """Return the protocol's texts out of `config/judge_config.yaml`."""
        system, template = _texts(text)
        return {
            "source": SOURCE.format("v0.1"),
            "judge_model": "gpt-4-1106-preview",
            "baseline": "gpt-4-0314",
            "temperature": 0.0,
            "max_tokens": 4096,
            "system_prompt": system,
            "prompt_template": template,
            "verdict_pattern": PATTERNS[0],
        }


class V2(Component):
    """`protocol.json` of v2.0."""

    def make(self, text: str) -> dict[str, Any]:
        """Return the protocol's texts out of `config/judge_config.yaml`."""
        system, template = _texts(text)
        creative = system.replace(OWN_ANSWER, "").replace(WITH_OWN, "answers.")
        hard = {"baseline": BASELINES["hard_prompt"], "system_prompt": system}
        written = {"baseline": BASELINES["creative_writing"], "system_prompt": creative}
        return {
            "source": SOURCE.format("v2.0"),
            "judge_models": ["gpt-4.1", "gemini-2.5"],
            "temperature": 0.0,
            "max_tokens": 16000,
            "prompt_template": template,
            "verdict_patterns": list(PATTERNS),
            "categories": {name: hard for name in ("hard_prompt", "coding", "math")}
            | {"creative_writing": written},
        }


def _texts(text: str) -> tuple[str, str]:
    """Return the judge's system prompt and the template of the question."""
    try:
        settings = yaml.safe_load(text)
        system, template = settings["system_prompt"], settings["prompt_template"][0]
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise AssetError(f"the settings file has another form ({error!r})") from error
    for theirs, ours in PLACES.items():
        template = template.replace(theirs, ours)
    return str(system), str(template)
