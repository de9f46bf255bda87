"""Flash attention is used where it gives what the plain way gives, and nowhere else.

No CUDA device is here: what the kernel is documented to do is done by `documented` below.
"""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import varlen

from harness.scoring.attention import choose_backend, matches_rows


def documented(top_left: bool):
    """Attention by document as torch documents it; its causal mask aligned at either corner."""

    def attend(query, key, value, q, k, most_q, most_k, *, scale, window_size, enable_gqa):
        assert window_size[1] == 0  # causal
        assert (most_q, most_k) == (int(q.diff().max()), int(k.diff().max()))
        outputs = []
        for i in range(len(q) - 1):
            rows = [x.transpose(0, 1) for x in (query[q[i] : q[i + 1]], key[k[i] : k[i + 1]])]
            values = value[k[i] : k[i + 1]].transpose(0, 1)
            new, all_ = rows[0].shape[1], values.shape[1]
            visible = torch.ones(new, all_).tril(0 if top_left else all_ - new).bool()
            outputs.append(
                F.scaled_dot_product_attention(*rows, values, visible, scale=scale, enable_gqa=True)
            )
        return torch.cat(outputs, 1).transpose(0, 1)

    return attend


@pytest.fixture(autouse=True)
def _forgotten():
    matches_rows.cache_clear()
    yield
    matches_rows.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_mask_over_the_pack_gives_what_rows_give(dtype):
    assert matches_rows("dense", "cpu", dtype, 16)


def test_a_kernel_that_does_as_documented_fits(monkeypatch):
    monkeypatch.setattr(varlen, "varlen_attn", documented(top_left=False))
    assert matches_rows("varlen", "cpu", torch.bfloat16, 64)


def test_a_kernel_that_aligns_its_mask_otherwise_is_detected(monkeypatch, caplog):
    monkeypatch.setattr(varlen, "varlen_attn", documented(top_left=True))
    with caplog.at_level(logging.WARNING):
        assert not matches_rows("varlen", "cpu", torch.bfloat16, 64)
    assert "row by row, which is slower: varlen does not fit" in caplog.text
    assert "its result differs by" in caplog.text


def test_a_device_without_the_kernel_goes_row_by_row(caplog):
    with caplog.at_level(logging.WARNING):
        assert not matches_rows("varlen", "cpu", torch.bfloat16, 64)
    assert "attention on cpu is computed row by row" in caplog.text


def test_the_cpu_and_float32_are_not_even_checked(caplog):
    assert choose_backend(torch.device("cpu"), torch.bfloat16, 64) == "rows"
    assert choose_backend(torch.device("cuda"), torch.float32, 64) == "rows"
    assert caplog.text == ""
