"""The loop that trains every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from random import Random

import torch
from tasks import Example, draw

__all__ = ["fit"]


def fit(
    name: str,
    parameters: Iterable[torch.nn.Parameter],
    loss_of: Callable[[list[Example], Random], torch.Tensor],
    make: Callable[[Random], Example],
    *,
    steps: int,
    rate: float,
    batch: int = 16,
    seed: int = 0,
) -> None:
    """Train with examples that are not held out, each of them new.

    AdamW; the learning rate goes up to `rate` over a tenth of the steps, and back to zero. The same seed gives the
    same weights with the same torch, number of threads and kind of processor.
    """
    rng = Random(seed)
    chosen = list(parameters)
    groups = [
        {"params": [one for one in chosen if one.ndim > 1], "weight_decay": 0.01},
        {"params": [one for one in chosen if one.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1, anneal_strategy="linear", cycle_momentum=False
    )
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        loss = loss_of([draw(make, rng, held_out=False) for _ in range(batch)], rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            seconds = time.monotonic() - started
            print(f"{name}  step {step} of {steps}  loss {total / 100:.4f}  {seconds:.0f} s", flush=True)
            total = 0.0
