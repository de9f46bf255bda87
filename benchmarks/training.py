"""What a training step, the anchors and their memory cost, as ratios to TRL on the same pairs.

    python benchmarks/training.py [--json FILE]                 # a step against TRL's
    python benchmarks/training.py --iteration                   # a whole run, INPO's over DPO's
    python benchmarks/training.py --alone --device cuda --model 8b --masters bfloat16 \\
        --dtype bfloat16 --gradient-checkpointing               # tokens a second and MFU

On a CPU every contestant is a process of its own with one thread and takes its turn; of all
epochs the least CPU time counts, and for memory the resident set's growth. TRL 1.16 is
measured as it comes, and "compact": with the head on completions only, as on a GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import Clock, now

os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Model:
    hidden: int
    layers: int
    heads: int
    key_heads: int
    intermediate: int
    vocabulary: int


MODELS = {
    "tiny": Model(32, 2, 2, 1, 48, 64),
    "body": Model(384, 8, 6, 2, 1024, 3200),
    "vocabulary-heavy": Model(256, 4, 4, 2, 688, 32000),
    "8b": Model(4096, 32, 32, 8, 14336, 128256),
}
PROMPT, RESPONSE = 200, 275
CONTESTANTS = ("harness", "trl", "trl compact")
PASSED = ("device", "pairs", "batch", "epochs", "micro_tokens", "dtype", "masters", "algorithm")
"""The options of a contestant's process, besides its name and model."""
TARGETS = {  # what must be reached and what is aimed at; of time at least, of memory at most
    ("body", "step"): (1.4, 1.6),
    ("vocabulary-heavy", "step"): (3.5, 4.7),
    ("body", "anchors"): (1.6, 1.8),
    ("body", "memory"): (0.7, 0.6),
    ("vocabulary-heavy", "memory"): (0.25, 0.15),
}


def drawn(count, vocabulary):
    """Pairs with log-normal lengths around the medians of long instructions."""
    import numpy as np

    rng = np.random.default_rng(0)

    def tokens(median):
        length = int(np.clip(rng.lognormal(np.log(median), 0.3), 16, 2 * median))
        return tuple(int(t) for t in rng.integers(4, vocabulary, length))

    return [(tokens(PROMPT), tokens(RESPONSE), tokens(RESPONSE)) for _ in range(count)]


def built(model, dtype="float32", device="cpu"):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=model.vocabulary,
        hidden_size=model.hidden,
        intermediate_size=model.intermediate,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.key_heads,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    with torch.device(device):
        return LlamaForCausalLM(config).to(getattr(torch, dtype))


def harness(args, model):
    """Our loop: DPO on packed rows with stored anchors; masters are rounded as in a training."""
    from harness.training.distributed import process_group

    with nullcontext() if args.dtype == args.masters else process_group():
        return harness_here(args, model)


def harness_here(args, model):
    import torch

    from baselines.dpo import DPO
    from harness.scoring import packing
    from harness.scoring.scorer import Scorer
    from harness.training import reference_logps, trainer
    from harness.training.distributed import shard
    from harness.training.optimisation import assemble_batch
    from harness.training.optimisers import OptimiserSettings
    from harness.training.trainer import BatchPlan, Trainer
    from harness.types import Pair

    texts = drawn(args.pairs, model.vocabulary)
    pairs = [Pair(str(i), x, y, z, probability=1.0) for i, (x, y, z) in enumerate(texts)]
    net = built(model, args.masters, args.device)
    if args.gradient_checkpointing:
        net.gradient_checkpointing_enable({"use_reentrant": False})
    scorer = Scorer(net.train(), args.dtype)
    if args.dtype != args.masters:
        shard(scorer)
    stored = torch.empty(len(pairs), 2, device=args.device)
    start = now(args.device)
    for items, values in reference_logps.score_pairs(
        scorer, pairs, reference_logps.pair_packs(pairs)
    ):
        stored[items] = values
    frozen = now(args.device) - start
    objective = DPO(beta=0.1)

    def loss(items):
        packed = packing.pack([reference_logps.pair_row(pairs[i]) for i in items])
        live = scorer(packed).view(-1, 2)
        return objective(assemble_batch(live, pairs, {"reference": stored}, items)), {}

    names = ("batch", "epochs", "micro_tokens", "algorithm")
    overrides = {name: getattr(args, name) for name in names}
    settings = OptimiserSettings.model_validate({"learning_rate": 1e-6, **overrides})
    steps = trainer.batch_order(len(pairs), args.batch, 0, args.epochs)
    plan = BatchPlan(steps, [packing.row_size(reference_logps.pair_row(p)) for p in pairs])
    clock = Clock(len(steps) // args.epochs, args.device)
    Trainer(scorer, settings, plan, loss, clock).run(lambda _: None)
    return {"step": clock.seconds(), "anchors": frozen, "memory": clock.growth()}


def trl(args, model, compact=False):
    """TRL's trainer on the same tokens: no gradient checkpointing, the reference precomputed."""
    import trl.trainer.utils
    from datasets import Dataset
    from torch.utils.data import DataLoader
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    if compact:
        trl.trainer.utils._use_triton = lambda device: True
    pairs = drawn(args.pairs, model.vocabulary)
    rows = [
        dict(zip(("prompt", "chosen", "rejected"), map(words, pair), strict=True)) for pair in pairs
    ]
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=args.batch,
            num_train_epochs=args.epochs,
            learning_rate=1e-6,
            gradient_checkpointing=args.gradient_checkpointing,
            bf16=args.dtype == "bfloat16",
            use_cpu=args.device == "cpu",
            max_length=None,
            precompute_ref_log_probs=True,
            beta=0.1,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            optim="adamw_torch_fused",
        )
        trainer = DPOTrainer(
            built(model, "float32", args.device),
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer(model.vocabulary),
        )
        batches = list(
            DataLoader(trainer.train_dataset, args.batch, collate_fn=trainer.data_collator)
        )
        batches = [{k: v.to(args.device) for k, v in batch.items()} for batch in batches]
        start = now(args.device)
        for batch in batches:
            trainer.compute_ref_log_probs(trainer.model, batch)
        frozen = now(args.device) - start
        clock = Clock(len(batches), args.device)

        class Marks(TrainerCallback):
            def on_train_begin(self, *args, **kwargs):
                clock.rewind(0)

            def on_step_end(self, *args, **kwargs):
                clock.add()

        trainer.add_callback(Marks())
        trainer.train()
    return {"step": clock.seconds(), "anchors": frozen, "memory": clock.growth()}


def words(tokens):
    return " ".join(f"w{t}" for t in tokens)


def tokenizer(vocabulary):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {name: i for i, name in enumerate(("<pad>", "<s>", "</s>", "<unk>"))}
    names |= {f"w{i}": i for i in range(4, vocabulary)}
    word_level = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    word_level.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=word_level, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def measured(args):
    """What one process measures and prints as its last line."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    if args.device == "cpu":
        torch.set_num_threads(1)
    model = MODELS[args.model]
    match args.contestant:
        case "harness":
            figures = harness(args, model)
        case "trl":
            figures = trl(args, model)
        case "trl compact":
            figures = trl(args, model, compact=True)
    print(json.dumps(figures))


def asked(args, contestant, model):
    """Measure a contestant in a process of its own."""
    command = [sys.executable, __file__, "--contestant", contestant, "--model", model]
    for name in PASSED:
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    command += ["--gradient-checkpointing"] if args.gradient_checkpointing else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compared(args, models):
    """All contestants in turn, several rounds; the least of each figure by model."""
    least = {}
    for turn in range(args.rounds):
        for model in models:
            for contestant in CONTESTANTS:
                figures = asked(args, contestant, model)
                print(f"round {turn + 1}, {model}, {contestant}: {figures}", file=sys.stderr)
                before = least.setdefault((model, contestant), figures)
                least[model, contestant] = {k: min(v, before[k]) for k, v in figures.items()}
    return least


def table(least, models):
    rows = []
    for model in models:
        ours = least[model, "harness"]
        for figure in ("step", "anchors", "memory"):
            must, aim = TARGETS.get((model, figure), (None, None))
            rows.append({"model": model, "figure": figure, "must": must, "aim": aim})
            for peer in CONTESTANTS[1:]:
                theirs = least[model, peer][figure]
                ratio = ours[figure] / theirs if figure == "memory" else theirs / ours[figure]
                rows[-1][f"against {peer}"] = round(ratio, 3)
    return rows


def iterations(args):
    """A whole run of the toy world under INPO and under DPO, by turns: the ratio of the least."""
    from harness.core import config
    from harness.core.workspace import Workspace
    from harness.training import schedule
    from harness.training.spec import TrainSpec

    counts = (f"prompts.count={args.prompts}", f"policy.texts.count={25 * args.prompts}")
    small = (*counts, "iterations=2")
    least = {}
    for _ in range(args.rounds):
        for name in ("toy/inpo", "toy/iterative-dpo"):
            spec = config.construct(TrainSpec, config.load("train", name, small))
            with tempfile.TemporaryDirectory() as folder:
                workspace = Workspace(Path(folder), isolate=False)
                workspace.stages.materialize(spec.policy.weights())
                start = time.process_time()
                schedule.train(spec, workspace, name)
                seconds = time.process_time() - start
            least[name] = min(seconds, least.get(name, seconds))
    return {"seconds": least, "ratio": least["toy/inpo"] / least["toy/iterative-dpo"]}


def alone(args):
    """How fast the harness trains on this device, and at which share of the device's peak."""
    model = MODELS[args.model]
    figures = harness(args, model)
    pairs = drawn(args.pairs, model.vocabulary)
    tokens = sum(len(p) + len(c) + len(r) for p, c, r in pairs)
    flops = sum(flops_of(model, *map(len, pair)) for pair in pairs)
    figures["tokens_per_second"] = tokens / figures["step"]
    figures["model_flop_utilisation"] = flops / figures["step"] / (args.peak_tflops * 1e12)
    return figures


def flops_of(model, prompt, chosen, rejected):
    """Forward and backward of a pair, its prompt once: 6 a weight and token, attention besides."""
    width = model.hidden // model.heads
    layer = 2 * model.hidden * width * (model.heads + model.key_heads)
    layer += 3 * model.hidden * model.intermediate
    tokens = prompt + chosen + rejected
    body = 6 * layer * model.layers * tokens
    head = 6 * model.hidden * model.vocabulary * (chosen + rejected)
    attended = (prompt + chosen) ** 2 / 2 + rejected * (prompt + rejected / 2)
    return body + head + 12 * model.layers * model.hidden * attended


def parsed(arguments=None):
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--iteration", action="store_true", help="a whole run, INPO and DPO")
    parser.add_argument("--alone", action="store_true", help="no peer; needs --model")
    parser.add_argument("--prompts", type=int, default=192, help="of each iteration of a whole run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--micro-tokens", type=int, default=4096)
    parser.add_argument("--dtype", default="float32", help="what is computed in")
    parser.add_argument("--masters", default="float32", help="what the weights are kept in")
    parser.add_argument("--algorithm", default="adamw")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the device (H100)")
    args = parser.parse_args(arguments)
    if (args.alone or args.contestant) and not args.model:
        parser.error("--model says what is trained")
    return args


def main(arguments=None):
    args = parsed(arguments)
    if args.contestant:
        return measured(args)
    if args.alone or args.iteration:
        figures = iterations(args) if args.iteration else alone(args)
        print(json.dumps(figures, indent=1))
    else:
        models = [args.model] if args.model else ["body", "vocabulary-heavy"]
        least = compared(args, models)
        figures = {
            "table": table(least, models),
            "least": {" · ".join(k): v for k, v in least.items()},
        }
        for row in figures["table"]:
            print("  ".join(f"{name}: {value}" for name, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
