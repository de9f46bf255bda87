"""The one place where token rows become log-probabilities: for training and for anchors alike.

The objectives see its result only. Exactly the tokens that were sampled are scored; nothing is
tokenised again, and a response's end-of-turn token counts as part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.training.batches import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def sequence_logps(model: PreTrainedModel, rows: Rows, dtype: str = "float32") -> Tensor:
    """Return log π(response | prompt) of every row, in nats, float32, shape (rows,).

    The head is applied from the first response on. Weights are float32; `dtype` is what the model
    computes in, and the softmax is taken in float32 all the same.
    """
    rows = rows.to(model.device)
    keep = rows.token_ids.shape[1] - rows.first + 1
    lower = torch.autocast(model.device.type, getattr(torch, dtype), enabled=dtype != "float32")
    with lower:
        logits = model(input_ids=rows.token_ids, logits_to_keep=keep, use_cache=False).logits
    logits = logits[:, :-1].float()
    targets = rows.token_ids[:, rows.first :]
    told = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(logits, dim=-1)
    return torch.where(rows.response[:, rows.first :], told, 0.0).sum(-1)
