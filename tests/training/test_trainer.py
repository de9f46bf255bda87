"""The loop: the batch order, the rate, a step's mean however it is packed, and what stops it."""

from __future__ import annotations

import math

import pytest
import torch

from harness.core import config
from harness.errors import CheckError, HarnessError
from harness.training import trainer
from harness.training.checkpoints import Checkpoints
from harness.training.optimisers import (
    OptimiserSettings,
    build_optimiser,
    learning_rate_factor,
    set_learning_rate,
)
from harness.training.trainer import BatchPlan, Trainer

STEPS = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def settings(**changes) -> OptimiserSettings:
    return OptimiserSettings(**{"learning_rate": 0.1, "batch": 4, **changes})


class Rows:
    """A log in memory."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    def rewind(self, step: int) -> None:
        self.rows = self.rows[:step]

    def add(self, row) -> None:
        self.rows.append(row)


def run(model, loss, steps=STEPS, sizes=(10,) * 10, **changes) -> list[dict]:
    record = Rows()
    plan = BatchPlan(steps, sizes, lambda i: f"item {i}")
    Trainer(model, settings(**changes), plan, loss, record).run(lambda _: None)
    return record.rows


def regression(**changes) -> tuple[torch.Tensor, list[dict]]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    inputs, targets = torch.randn(10, 3), torch.randn(10)

    def loss(items):
        apart = model(inputs[list(items)]).squeeze(-1) - targets[list(items)]
        return apart**2, {"apart": apart}

    rows = run(model, loss, **changes)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), rows


def test_the_cosine_rises_over_the_warm_up_and_ends_near_zero():
    # 100 steps, 10 of warm-up: 0 at first, 0.9 at step 9, 1 at step 10, half way down at step 55
    cosine = settings(warmup=0.1)
    assert learning_rate_factor(cosine, 0, 100) == 0
    assert learning_rate_factor(cosine, 9, 100) == pytest.approx(0.9)
    assert learning_rate_factor(cosine, 10, 100) == 1
    assert learning_rate_factor(cosine, 55, 100) == pytest.approx(0.5)
    assert 0 < learning_rate_factor(cosine, 99, 100) < 0.001


@pytest.mark.parametrize("steps", [7, 33, 120])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.1])
@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [("cosine", "cosine"), ("linear", "linear"), ("constant", "constant_with_warmup")],
)
def test_every_step_has_the_rate_of_transformers_schedule(schedule, theirs, warmup, steps):
    from transformers import get_scheduler

    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(theirs, optimiser, math.ceil(warmup * steps), steps)
    rates = []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0])
        optimiser.step()
        scheduler.step()
    chosen = settings(schedule=schedule, warmup=warmup)
    ours = [learning_rate_factor(chosen, step, steps) for step in range(steps)]
    assert ours == pytest.approx(rates, abs=1e-15)


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)])
def test_a_rate_that_is_kept_in_a_tensor_stays_in_it(rate):
    optimiser = torch.optim.AdamW(torch.nn.Linear(1, 1).parameters(), lr=rate)
    set_learning_rate(optimiser, 0.25)
    (group,) = optimiser.param_groups
    assert float(group["lr"]) == 0.25
    assert isinstance(rate, float) or group["lr"] is rate


def test_linear_and_constant_schedules():
    assert learning_rate_factor(settings(schedule="linear"), 25, 100) == pytest.approx(0.75)
    assert learning_rate_factor(settings(schedule="constant"), 99, 100) == 1.0


@pytest.mark.parametrize("budget", [10, 25, 30])
def test_a_step_is_the_mean_over_its_items_however_they_are_packed(budget):
    # items of 10 tokens: 1, 2 or 3 a pack, against all of a step in one
    unsplit, unsplit_rows = regression(micro_tokens=1000)
    split, split_rows = regression(micro_tokens=budget)
    torch.testing.assert_close(unsplit, split, atol=1e-6, rtol=0)
    for name in ("loss", "apart", "gradient_norm"):
        values = [row[name] for row in split_rows]
        assert values == pytest.approx([row[name] for row in unsplit_rows], abs=1e-6)


@pytest.mark.parametrize("algorithm", ["adamw", "rmsprop"])
def test_the_loss_falls_under_every_algorithm(algorithm):
    _, rows = regression(algorithm=algorithm, learning_rate=0.05, schedule="constant")
    assert rows[0]["loss"] > 0
    weights = [regression(algorithm=a, learning_rate=0.05)[0] for a in ("adamw", algorithm)]
    assert torch.equal(*weights) == (algorithm == "adamw")


def test_the_first_step_of_rmsprop_by_hand():
    # gradient g: v = 0.01 g², step = lr · g / (0.1 |g| + ε) = 10 lr · sign(g), with alpha = 0.99
    model = torch.nn.Linear(1, 1, bias=False)
    before = float(model.weight.detach())

    def loss(items):
        return model(torch.ones(len(items), 1)).squeeze(-1), {}

    changes = {"algorithm": "rmsprop", "schedule": "constant"}
    run(model, loss, steps=[[0]], learning_rate=0.01, **changes)
    assert float(model.weight.detach()) == pytest.approx(before - 0.1, abs=1e-5)


def test_rmsprop_is_what_transformers_builds_for_optim_rmsprop(tmp_path):
    """SPPO's authors train with `--optim rmsprop`, and name no other constant of it."""
    transformers = pytest.importorskip("transformers")
    arguments = transformers.TrainingArguments(
        str(tmp_path), optim="rmsprop", learning_rate=5e-7, use_cpu=True, report_to=[]
    )
    model = torch.nn.Linear(2, 2)
    theirs = transformers.Trainer(model, arguments).create_optimizer()
    sppo = OptimiserSettings(**config.load("train", "sppo")["optimiser"])
    ours = build_optimiser(sppo, model)
    assert type(ours) is type(theirs) is torch.optim.RMSprop
    names = ("lr", "alpha", "eps", "momentum", "centered", "weight_decay")
    for name in names:
        assert ours.param_groups[0][name] == theirs.param_groups[0][name], name


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_items():
    model = torch.nn.Linear(1, 1)

    def loss(items):
        inputs = torch.tensor([[float("nan") if i in (5, 7) else 1.0] for i in items])
        return model(inputs).squeeze(-1), {}

    with pytest.raises(CheckError, match="item 5, item 7 at step 2 is not finite"):
        run(model, loss, micro_tokens=20)


def test_the_last_good_checkpoint_outlives_a_loss_that_is_not_finite(tmp_path):
    model = torch.nn.Linear(1, 1)

    def loss(items):
        inputs = torch.tensor([[float("nan") if i == 5 else 1.0] for i in items])
        return model(inputs).squeeze(-1), {}

    checkpoints = Checkpoints(tmp_path, {}, minutes=0, max_kept=2)
    plan = BatchPlan(STEPS, (10,) * 10, lambda i: f"item {i}")
    training = Trainer(model, settings(), plan, loss, Rows(), checkpoints)
    with pytest.raises(CheckError, match=r"item 5 at step 2 .*the checkpoint of step 1 is kept"):
        training.run(lambda _: None)
    assert checkpoints.latest_step() == 1


def test_a_gradient_that_is_not_finite_stops_the_run():
    model = torch.nn.Linear(1, 1)

    def loss(items):
        return model(torch.zeros(len(items), 1)).squeeze(-1).sub(model.bias).abs().sqrt(), {}

    with pytest.raises(CheckError, match="the gradient at step 1 is not finite"):
        run(model, loss)


def full(limit: int, sizes: list[int]):
    """A loss that runs out of memory above `limit` tokens."""
    model = torch.nn.Linear(1, 1)

    def loss(items):
        if sum(sizes[i] for i in items) > limit:
            raise torch.OutOfMemoryError
        return model(torch.ones(len(items), 1)).squeeze(-1), {}

    return model, loss


def test_too_little_memory_names_the_budget_that_fitted():
    sizes = [10, 10, 10, 20, 20, 20]
    model, loss = full(30, sizes)
    with pytest.raises(
        HarnessError, match=r"3 items with 60 tokens .*micro_tokens=30, which fitted"
    ):
        run(model, loss, steps=[[0, 1, 2], [3, 4, 5]], sizes=sizes, micro_tokens=60)


def test_too_little_memory_at_once_names_half():
    model, loss = full(30, [20] * 4)
    with pytest.raises(HarnessError, match="micro_tokens=40, which is half of it"):
        run(model, loss, steps=[[0, 1, 2, 3]], sizes=[20] * 4)


def test_one_item_that_does_not_fit_needs_another_remedy():
    model, loss = full(30, [50])
    with pytest.raises(HarnessError, match="lower max_length, or .*gradient_checkpointing"):
        run(model, loss, steps=[[0]], sizes=[50])


def test_a_closer_look_is_taken_ten_times():
    model, record, looks = torch.nn.Linear(1, 1), Rows(), iter(range(100))

    def loss(items):
        return model(torch.ones(len(items), 1)).squeeze(-1), {}

    plan = BatchPlan([[0]] * 40, [1])
    Trainer(model, settings(), plan, loss, record, evaluate=lambda: {"look": next(looks)}).run(
        lambda _: None
    )
    assert [row["step"] for row in record.rows if "look" in row] == list(range(1, 41, 4))


def test_an_epoch_visits_every_item_once_and_differently_each_time():
    first, second = (list(trainer.shuffle_epoch(10, 4, seed=3, epoch=e)) for e in (0, 1))
    assert [len(step) for step in first] == [4, 4, 2]
    assert sorted(i for step in first for i in step) == list(range(10))
    assert first != second
    assert first == list(trainer.shuffle_epoch(10, 4, seed=3, epoch=0))
    assert trainer.batch_order(10, 4, seed=3, epochs=2) == first + second


def test_held_out_items_are_a_share_that_the_seed_decides():
    training, held_out = trainer.split_held_out(10, 0.3, seed=1)
    assert (len(training), len(held_out)) == (7, 3)
    assert sorted(training + held_out) == list(range(10))
    assert (
        (training, held_out)
        == trainer.split_held_out(10, 0.3, seed=1)
        != trainer.split_held_out(10, 0.3, seed=2)
    )
    assert trainer.split_held_out(4, 0.0, seed=1) == ([0, 1, 2, 3], [])
