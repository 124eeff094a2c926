# SPDX-License-Identifier: Apache-2.0
"""Precision, optimiser, averaging and clock-driven schedule shared by both trainings."""
from __future__ import annotations

import math
import os

import torch


def quick_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware; emulated, they take three times as long as fp32."""
    if not os.path.exists("/proc/cpuinfo"):
        return False
    with open("/proc/cpuinfo") as file:
        return not {"amx_bf16", "avx512_bf16"}.isdisjoint(file.read().split())


BF16 = quick_bf16()


def autocast():
    return torch.autocast("cpu", torch.bfloat16, enabled=BF16)


def orthogonal(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz: nearest (roughly) orthogonal matrix of each of a batch [n, rows, columns]."""
    x = matrices.bfloat16() if BF16 else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more dimensions (convolutions flattened to out x in), AdamW for the rest.

    Both take the same learning rate: Muon's update is scaled to the size AdamW's has (0.2 per element).
    """

    def __init__(self, parameters, lr: float, weight_decay: float = 0.01, momentum: float = 0.95, adam=()):
        """adam: parameters that Muon shall leave alone whatever their shape (embeddings)."""
        parameters, adam = [p for p in parameters if p.requires_grad], set(adam)
        matrices = [p for p in parameters if p not in adam and p.ndim > 1 and min(p.shape[0], p[0].numel()) >= 8]
        chosen = set(matrices)
        groups = [{"params": matrices, "muon": True}, {"params": [p for p in parameters if p not in chosen], "muon": False}]
        super().__init__([g for g in groups if g["params"]], dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            live = [p for p in group["params"] if p.grad is not None]
            by_shape: dict[tuple, list] = {}
            for p in live:
                state = self.state[p]
                if not state:
                    state["first"], state["steps"] = torch.zeros_like(p), 0
                    if not group["muon"]:
                        state["second"] = torch.zeros_like(p)
                state["steps"] += 1
                if group["muon"]:
                    state["first"].lerp_(p.grad, 1 - momentum)
                    by_shape.setdefault(tuple(p.shape), []).append(p)
                    continue
                state["first"].lerp_(p.grad, 0.1)
                state["second"].lerp_(p.grad.square(), 0.02)
                first = state["first"] / (1 - 0.9 ** state["steps"])
                second = state["second"] / (1 - 0.98 ** state["steps"])
                p.sub_(lr * first / (second.sqrt() + 1e-8))
            for shape, same in by_shape.items():
                updates = torch.stack([p.grad.lerp(self.state[p]["first"], momentum).flatten(1) for p in same])
                updates = orthogonal(updates) * (0.2 * math.sqrt(max(updates.shape[1:])))
                for p, update in zip(same, updates):
                    p.mul_(1 - lr * group["weight_decay"]).sub_(lr * update.view(shape))


class Average:
    """Exponential moving average of a module's parameters, quick at first."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.values = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        self.steps += 1
        weight = 1 - min(self.decay, self.steps / (self.steps + 10))
        for name, p in module.named_parameters():
            self.values[name].lerp_(p, weight)

    def copy_to(self, module: torch.nn.Module) -> None:
        with torch.no_grad():
            for name, p in module.named_parameters():
                p.copy_(self.values[name])


def schedule(done: float, warm_up: float = 0.02, final: float = 0.02) -> float:
    """Factor on the peak learning rate when the share `done` of the time is used: linear warm-up, then cosine."""
    done = min(max(done, 0.0), 1.0)
    return min(1.0, (done + 0.1 * warm_up) / warm_up) * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done)))
