"""Choosing the next token, per row, with a random stream of each row's own. Imported only in engine children."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def uniforms(seeds: Sequence[int], count: int) -> torch.Tensor:
    """``[len(seeds), count]`` uniform numbers in [0, 1), a counter-based stream per seed.

    Drawn ahead of decoding, so a row's text does not depend on which other rows share its batch or when they end.
    """
    rows = [np.random.Generator(np.random.Philox(seed)).random(count) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def next_tokens(
    logits_BV: torch.Tensor, temperature_B: torch.Tensor, top_p_B: torch.Tensor, uniform_B: torch.Tensor
) -> torch.Tensor:
    """Next token ids ``[B]``: greedy where the temperature is 0, else nucleus sampling by inverse CDF in float64."""
    greedy_B = logits_BV.argmax(-1)
    if not bool((temperature_B > 0).any()):
        return greedy_B
    scale_B = torch.where(temperature_B > 0, temperature_B, torch.ones_like(temperature_B))
    probs_BV = torch.softmax(logits_BV.double() / scale_B[:, None].double(), -1)
    # Which way a row is drawn depends on its own top_p alone, so its token does not depend on its neighbours.
    nucleus_B = top_p_B < 1
    sampled_B = _inverse_cdf(probs_BV, uniform_B)
    if bool(nucleus_B.any()):
        sorted_BV, order_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
        # Keep the smallest set of tokens whose mass reaches top_p: those before which the mass is still below it.
        before_BV = sorted_BV.cumsum(-1) - sorted_BV
        kept_BV = torch.where(before_BV < top_p_B[:, None], sorted_BV, torch.zeros_like(sorted_BV))
        rank_B = _inverse_cdf(kept_BV, uniform_B)
        sampled_B = torch.where(nucleus_B, order_BV.gather(-1, rank_B[:, None])[:, 0], sampled_B)
    return torch.where(temperature_B > 0, sampled_B, greedy_B)


def _inverse_cdf(mass_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    """The index at which the running sum of ``mass`` first exceeds ``uniform`` times its total."""
    edges_BV = mass_BV.cumsum(-1)
    target_B1 = uniform_B[:, None].to(edges_BV) * edges_BV[:, -1:]
    return torch.searchsorted(edges_BV, target_B1, right=True).clamp_(max=edges_BV.shape[-1] - 1)[:, 0]
