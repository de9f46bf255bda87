"""What scoring K responses a prompt with a scalar reward model costs, packed against padded.

    python benchmarks/oracles.py [--prompts 4] [--samples 8] [--responses 1] [--json FILE]

Packed is what the oracle does: no padding, a prompt once for its K responses, the head at last
tokens only. Padded is the model's own forward on batches of 8 rows of like length. One thread, both
in one process in turn; of all rounds the least processor time counts.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

PROMPT, RESPONSE, BATCH = 200, 275, 8


def drawn(prompts, samples, vocabulary, responses=1):
    """Rows with log-normal lengths, K in succession that begin with the same prompt.

    A row of two responses is a question to a pair model; a tournament's first round asks K.
    """
    import numpy as np

    rng = np.random.default_rng(0)

    def tokens(median):
        length = int(np.clip(rng.lognormal(np.log(median), 0.3), 16, 2 * median))
        return rng.integers(4, vocabulary, length).tolist()

    asked = [tokens(PROMPT) for _ in range(prompts)]
    return [
        (str(i), [*prompt, *(t for _ in range(responses) for t in tokens(RESPONSE))])
        for i, prompt in enumerate(asked)
        for _ in range(samples)
    ]


def built():
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=3200,
        hidden_size=384,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=1024,
        max_position_embeddings=4096,
        pad_token_id=0,
        num_labels=1,
    )
    torch.manual_seed(0)
    return LlamaForSequenceClassification(config).eval()


def packed(model, rows):
    from harness.oracles.hidden_states import StateRequest, hidden_states
    from harness.oracles.reward_model import reward

    asked = [StateRequest(row, about, (len(row) - 1,)) for about, row in rows]
    told = {place: reward(model, state[0]) for place, state in hidden_states(model, asked, 8192)}
    return [told[place] for place in range(len(rows))]


def padded(model, rows):
    import torch

    model.set_attn_implementation("sdpa")
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
    told = {}
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        width = max(len(rows[i][1]) for i in part)
        ids = torch.tensor([rows[i][1] + [0] * (width - len(rows[i][1])) for i in part])
        with torch.inference_mode():
            logits = model(ids, attention_mask=(ids != 0).long(), use_cache=False).logits
        told |= dict(zip(part, logits[:, 0].tolist(), strict=True))
    return [told[place] for place in range(len(rows))]


def timed(function, *given):
    begun = time.process_time()
    told = function(*given)
    return time.process_time() - begun, told


def measured(args):
    """Return the least processor time of each way, and how far their rewards lie apart."""
    model, rows = built(), drawn(args.prompts, args.samples, 3200, args.responses)
    found = {packed: [], padded: []}
    for _ in range(args.rounds):
        for way, times in found.items():
            times.append(timed(way, model, rows))
    ours, theirs = (min(times)[0] for times in found.values())
    both = zip(found[packed][0][1], found[padded][0][1], strict=True)
    return {
        "packed_seconds": ours,
        "padded_seconds": theirs,
        "times_as_fast": theirs / ours,
        "largest_difference": max(abs(a - b) for a, b in both),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--responses", type=int, default=1, help="in a row; 2: a pair model's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args(arguments)
    told = measured(args)
    for name, value in told.items():
        print(f"{name.replace('_', ' '):20} {value:.3g}")
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
