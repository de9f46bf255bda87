"""What scoring K responses a prompt with a scalar reward model costs, packed against padded.

    python benchmarks/oracles.py [--prompts 4] [--json]

Packed is what the oracle does: no padding, a prompt once for its K responses, the head at last
tokens only. Padded is the model's own forward on batches of 8 rows of like length. One thread, both
in one process in turn; of all rounds the least processor time counts.
"""

import argparse
import json
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

PROMPT, RESPONSE, SAMPLES, BATCH, ROUNDS = 200, 275, 8, 8, 3


def drawn(prompts, vocabulary):
    """Rows with log-normal lengths, K in succession that begin with the same prompt."""
    import numpy as np

    rng = np.random.default_rng(0)

    def tokens(median):
        length = int(np.clip(rng.lognormal(np.log(median), 0.3), 16, 2 * median))
        return rng.integers(4, vocabulary, length).tolist()

    asked = [tokens(PROMPT) for _ in range(prompts)]
    return [(str(i), [*p, *tokens(RESPONSE)]) for i, p in enumerate(asked) for _ in range(SAMPLES)]


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
    from harness.oracles.reward_model import reward
    from harness.oracles.states import Asked, states

    asked = [Asked(row, about, (len(row) - 1,)) for about, row in rows]
    told = {place: reward(model, state[0]) for place, state in states(model, asked, 8192)}
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model, rows = built(), drawn(args.prompts, 3200)
    found = {packed: [], padded: []}
    for _ in range(ROUNDS):
        for way, times in found.items():
            times.append(timed(way, model, rows))
    ours, theirs = (min(times)[0] for times in found.values())
    both = zip(found[packed][0][1], found[padded][0][1], strict=True)
    figures = {
        "packed_seconds": ours,
        "padded_seconds": theirs,
        "times_as_fast": theirs / ours,
        "largest_difference": max(abs(a - b) for a, b in both),
    }
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):20} {value:.3g}")


if __name__ == "__main__":
    main()
