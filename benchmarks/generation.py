"""Speed of sampling on a CPU: the engine, transformers' own `generate`, and vLLM beside them.

    python benchmarks/generation.py [--model smol|tiny] [--sequences 32] [--tokens 24]
        [--vllm PYTHON] [--json FILE]

`smol` has the shape of SmolLM2-135M, `tiny` two layers of 64; the weights are random, so that no
response ends early. Every prompt has 45 tokens and is sampled eight times. One thread each; time is
CPU time of this process and of its children, of which a run with one token is taken away: what is
left is decoding, and what was taken away is the start.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from harness.core.config import build, load
from harness.protocols import Sampling
from harness.types import Message, Policy, Prompt, Request

SHAPES = {
    "smol": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
}
PROMPT_TOKENS, SAMPLES = 45, 8


def write_policy(shape, folder):
    """Write a policy with random weights, whose tokenizer has a word a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {f"w{index}": index for index in range(shape["vocab_size"])}
    words["<end>"] = words.pop("w1")  # a special token is found within words too
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = "{{ messages[0].content }}"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", chat_template=template
    ).save_pretrained(folder)
    config = LlamaConfig(
        **shape,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=1,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return Policy("random", str(folder))


def make_requests(sequences, vocabulary):
    """Return requests for a number of sequences in all."""
    texts = [
        " ".join(f"w{2 + (31 * i + 7 * j) % (vocabulary - 2)}" for j in range(PROMPT_TOKENS))
        for i in range(max(1, sequences // SAMPLES))
    ]
    return [
        Request(Prompt(str(i), (Message("user", text),)), min(SAMPLES, sequences), i)
        for i, text in enumerate(texts)
    ]


def cpu_seconds():
    """Return the CPU time of this process and of the children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(sample, tokens):
    """Return (CPU seconds, sampled tokens) of a call."""
    start = cpu_seconds()
    count = sample(tokens)
    return cpu_seconds() - start, count


def measure(sample, tokens):
    """Return the decoding speed, and the seconds until the first token."""
    sample(1)  # imports and compiles
    first, first_count = timed(sample, 1)
    seconds, count = timed(sample, tokens)
    return {
        "tokens_per_second": (count - first_count) / max(seconds - first, 1e-9),
        "start_seconds": first,
    }


def engine_sampler(engine, policy, requests):
    """Return a function that samples with an engine and returns the number of tokens."""

    def sample(tokens):
        completions = engine.generate(
            policy,
            requests,
            Sampling(temperature=1.0, top_p=1.0, max_tokens=tokens),
            lambda count: None,
        )
        return sum(len(completion.token_ids) for completion in completions)

    return sample


def generate_sampler(policy, requests):
    """Return a function that samples with transformers' own `generate`, loaded anew each time."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def sample(tokens):
        model = AutoModelForCausalLM.from_pretrained(policy.path, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(policy.path)
        texts = [request.prompt.text for request in requests for _ in range(request.n)]
        ids = tokenizer(texts, return_tensors="pt", return_token_type_ids=False)
        out = model.generate(**ids, do_sample=True, top_k=0, max_new_tokens=tokens, pad_token_id=0)
        return out.shape[0] * (out.shape[1] - ids["input_ids"].shape[1])

    return sample


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SHAPES, default="smol")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--vllm", help="an interpreter that has vLLM")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    shape = SHAPES[options.model]
    requests = make_requests(options.sequences, shape["vocab_size"])
    with tempfile.TemporaryDirectory() as folder:
        policy = write_policy(shape, folder)
        samplers = {
            "transformers' generate": generate_sampler(policy, requests),
            "engine/transformers": engine_sampler(
                build(load("engine", "transformers")), policy, requests
            ),
        }
        if options.vllm:
            vllm = build(load("engine", "vllm", [f"python={options.vllm}"]))
            samplers["engine/vllm"] = engine_sampler(vllm, policy, requests)
        figures = {name: measure(sample, options.tokens) for name, sample in samplers.items()}
    peer = figures["transformers' generate"]["tokens_per_second"]
    for row in figures.values():
        row["against_generate"] = row["tokens_per_second"] / peer
    text = json.dumps(figures, indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text)


if __name__ == "__main__":
    main()
