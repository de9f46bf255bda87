"""What scoring K responses a prompt with a scalar reward model costs, packed against padded.

    python benchmarks/oracles.py [--prompts 4] [--samples 8] [--responses 1] [--json FILE]

Packed is the oracle's way: no padding, one forward pass over a prompt for its K responses, the head
at last tokens only. Padded is the model's own forward pass on batches of 8 rows of similar length.
One thread, both in one process in turn; the least CPU time of all rounds counts.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

PROMPT, RESPONSE, BATCH = 200, 275, 8


def random_rows(prompts, samples, vocabulary, responses=1):
    """Return rows of log-normal lengths, K in succession with the same prompt.

    A row of two responses is a pair model's input; a tournament's first round has K.
    """
    import numpy as np

    rng = np.random.default_rng(0)

    def tokens(median):
        length = int(np.clip(rng.lognormal(np.log(median), 0.3), 16, 2 * median))
        return rng.integers(4, vocabulary, length).tolist()

    prompt_rows = [tokens(PROMPT) for _ in range(prompts)]
    return [
        (str(i), [*prompt, *(t for _ in range(responses) for t in tokens(RESPONSE))])
        for i, prompt in enumerate(prompt_rows)
        for _ in range(samples)
    ]


def random_model():
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

    requests = [StateRequest(row, prompt, (len(row) - 1,)) for prompt, row in rows]
    states = hidden_states(model, requests, 8192)
    rewards = {index: reward(model, state[0]) for index, state in states}
    return [rewards[index] for index in range(len(rows))]


def padded(model, rows):
    import torch

    model.set_attn_implementation("sdpa")
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
    rewards = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        width = max(len(rows[i][1]) for i in batch)
        ids = torch.tensor([rows[i][1] + [0] * (width - len(rows[i][1])) for i in batch])
        with torch.inference_mode():
            logits = model(ids, attention_mask=(ids != 0).long(), use_cache=False).logits
        rewards |= dict(zip(batch, logits[:, 0].tolist(), strict=True))
    return [rewards[index] for index in range(len(rows))]


def time_call(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def measure(args):
    """Return the least CPU time of each way, and the largest difference of their rewards."""
    model, rows = random_model(), random_rows(args.prompts, args.samples, 3200, args.responses)
    runs = {packed: [], padded: []}
    for _ in range(args.rounds):
        for score, times in runs.items():
            times.append(time_call(score, model, rows))
    ours, theirs = (min(times)[0] for times in runs.values())
    both = zip(runs[packed][0][1], runs[padded][0][1], strict=True)
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
    parser.add_argument("--json", type=Path, help="write the results here")
    args = parser.parse_args(arguments)
    results = measure(args)
    for name, value in results.items():
        print(f"{name.replace('_', ' '):20} {value:.3g}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
