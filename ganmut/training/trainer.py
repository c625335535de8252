"""Trainer: networks, optimizers, averaged generator and one training step. It names no method."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
from typing import Any

import torch
from torch import Tensor

from ganmut import device as hardware
from ganmut.datasets.base import Batch
from ganmut.methods.base import Method
from ganmut.revision import commit
from ganmut.training.config import Recipe
from ganmut.training.distributed import SINGLE_PROCESS, ProcessGroup
from ganmut.training.run_dir import (
    RunError,
    Snapshot,
    module_tensors,
    optimizer_tensors,
    restore_module,
    restore_optimizer,
)

log = logging.getLogger(__name__)


class DivergenceError(ValueError):
    """A loss is NaN or infinite; the message names phase, term and step."""


class LossMeter:
    """Means of loss terms over a tick. Sums stay on the device: reading a value at every step would
    make the CPU wait for the GPU."""

    def __init__(self, processes: ProcessGroup = SINGLE_PROCESS) -> None:
        self.processes = processes
        self.sums: dict[str, Tensor] = {}
        self.bad: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, phase: str, terms: dict[str, Tensor], step: int) -> Tensor:
        """Returns the sum of the terms of one step, the value to minimise, and adds them to the
        means."""
        for name, term in terms.items():
            key, value = f"{phase}/{name}", term.detach().float()
            known = key in self.sums
            self.sums[key] = self.sums[key] + value if known else value
            self.counts[key] = self.counts.get(key, 0) + 1
            # The first step that is not finite: where, not if, since a branch waits for the device.
            first = torch.where(value.isfinite(), math.inf, float(step))
            self.bad[key] = torch.minimum(self.bad[key], first) if known else first
        return torch.stack([term.float() for term in terms.values()]).sum()

    def read(self) -> dict[str, float]:
        """Returns the means by "phase/term" over steps and processes, and resets them. Raises
        DivergenceError at the first step that was not finite."""
        # Every process calls both collectives, also where its own terms are finite.
        self.processes.all_reduce_mean(self.sums.values())
        # The earliest broken term is the cause; those after it inherited its NaN.
        broken = {key: float(self.processes.all_reduce_min(step)) for key, step in self.bad.items()}
        broken = {key: step for key, step in broken.items() if step < math.inf}
        if broken:
            key = min(broken, key=lambda k: broken[k])
            phase, term = key.split("/")
            raise DivergenceError(
                f"phase {phase}, term {term} is not finite at step {broken[key]:.0f}; train with a "
                "lower lr_g and lr_d, or with dtype fp32 (a run: change its recipe.json and resume "
                "it, which goes on from its last snapshot)"
            )
        means = {key: round(float(total) / self.counts[key], 5) for key, total in self.sums.items()}
        self.sums, self.bad, self.counts = {}, {}, {}
        return means


def param_groups(method: Method) -> list[dict[str, Any]]:
    """Returns parameter groups of the generator, one for each learning-rate factor of the
    method."""
    groups: dict[float, list[Tensor]] = {}
    scale = method.lr_scale()
    for name, parameter in method.G.named_parameters():
        # Adam normalises gradients, so a factor on a loss would not slow a parameter down; this
        # does.
        factor = next((f for k, f in scale.items() if name.startswith(k)), 1.0)
        groups.setdefault(factor, []).append(parameter)
    return [{"params": params, "lr_factor": factor} for factor, params in groups.items()]


class Trainer:
    """Generator, discriminator, their optimizers and the averaged generator: the content of a
    snapshot.

    `step` counts discriminator steps, `g_steps` generator steps; `kimg` is thousands of real
    images shown so far.
    """

    def __init__(
        self,
        method: Method,
        recipe: Recipe,
        device: torch.device,
        processes: ProcessGroup = SINGLE_PROCESS,
    ):
        self.method, self.recipe, self.device, self.processes = method, recipe, device, processes
        method.to(device)
        layout = hardware.memory_format(device)
        method.to(memory_format=layout)  # type: ignore[call-overload] # torch omits it
        # After the initialisation of G: an average that starts elsewhere keeps its start for
        # thousands of steps.
        self.ema = copy.deepcopy(method.G).requires_grad_(False)
        betas = (recipe.beta1, recipe.beta2)
        decay = recipe.weight_decay
        groups = param_groups(method)
        # fused: one kernel for all parameters, since most of a step of a small network is overhead.
        self.opt_g = torch.optim.Adam(groups, recipe.lr_g, betas, weight_decay=decay, fused=True)
        parameters = method.D.parameters()
        self.opt_d = torch.optim.Adam(
            parameters, recipe.lr_d, betas, weight_decay=decay, fused=True
        )
        # Another stream a process: equal ones would draw the same faces and targets.
        self.rng = method.rng = hardware.generator(recipe.seed + self.processes.rank)
        method.processes = processes
        self.meter = LossMeter(self.processes)
        self.step = self.g_steps = 0
        self.seconds = 0.0
        # The commit of the first step; kimg, steps and minutes of the weight in `init_from`.
        self.origin: dict[str, Any] = {"commit": commit(), "kimg": 0, "g_steps": 0, "minutes": 0}

    @property
    def kimg(self) -> float:
        """Thousands of real images shown so far, over all processes."""
        return self.step * self.recipe.batch / 1000

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a snapshot by name. Collective: every process must call it."""
        return (
            module_tensors("method", self.method)
            | module_tensors("ema", self.ema)
            | optimizer_tensors("opt_g", self.opt_g)
            | optimizer_tensors("opt_d", self.opt_d)
            | dict(zip(self.states(), self.processes.all_gather(self.rng.get_state()), strict=True))
        )

    def states(self) -> list[str]:
        """Names of the processes' random states."""
        return [f"rng{rank or ''}" for rank in range(self.processes.size)]

    def meta(self) -> dict[str, Any]:
        """The numbers of a snapshot besides its tensors."""
        return {
            "step": self.step,
            "g_steps": self.g_steps,
            "seconds": self.seconds,
            "origin": self.origin,
            "settings": self.settings(),
        }

    def settings(self) -> dict[str, Any]:
        """All settings of the recipe and of the method by name, as JSON holds them."""
        both = dataclasses.asdict(self.recipe) | dataclasses.asdict(self.method.config)
        # Through JSON, as a snapshot's meta was: a tuple does not equal the list it is stored as.
        return json.loads(json.dumps(both))

    def snapshot_bytes(self) -> int:
        """Bytes of a snapshot: networks, both moments of Adam, and the averaged generator."""
        counts = [sum(p.numel() for p in m.parameters()) for m in (self.method, self.ema)]
        # Four bytes a float32; Adam keeps two moments beside every parameter.
        return 4 * (3 * counts[0] + counts[1])

    def restore(self, snapshot: Snapshot) -> None:
        """Loads a snapshot. Raises RunError where another number of processes wrote it, or it is of
        other networks than recipe.json; a warning names other settings that differ."""
        tensors, meta = snapshot.tensors, snapshot.meta
        try:
            restore_module("method", self.method, tensors)
            restore_module("ema", self.ema, tensors)
            restore_optimizer("opt_g", self.opt_g, tensors)
            restore_optimizer("opt_d", self.opt_d, tensors)
        except ValueError as error:
            raise RunError(
                f"{snapshot.path} is not of the networks of recipe.json: {error}; put back the "
                "recipe.json that the run began with"
            ) from None
        before, now = meta.get("settings", {}), self.settings()
        changed = [f"{k} {v} -> {now[k]}" for k, v in before.items() if k in now and now[k] != v]
        if changed and self.processes.is_main:
            log.warning("recipe.json has changed since %s: %s", snapshot.path, ", ".join(changed))
        # Each process owns a random state; another number of them cannot go on bit for bit.
        had = sum(name.startswith("rng") for name in tensors)
        if had != self.processes.size:
            raise RunError(
                f"{had} processes began this training, {self.processes.size} cannot resume it; "
                f"start {had} processes"
            )
        self.rng.set_state(tensors[self.states()[self.processes.rank]])
        self.step, self.g_steps, self.seconds = meta["step"], meta["g_steps"], meta["seconds"]
        self.origin = meta["origin"]

    def schedule(self) -> None:
        """Sets the learning rates of this step: constant, then linear to zero over the last
        `lr_decay_fraction` of the training."""
        # By images, not by steps: another batch size keeps the schedule.
        self.method.progress = self.kimg / self.recipe.kimg
        # True linear decay to zero, as the papers say. The released code of StarGAN and GANmut
        # subtracts once per 1000 steps what belongs to every step, so its rate stays constant.
        left = 1 - self.method.progress
        factor = (
            min(1.0, left / self.recipe.lr_decay_fraction) if self.recipe.lr_decay_fraction else 1.0
        )
        for optimizer, lr in ((self.opt_g, self.recipe.lr_g), (self.opt_d, self.recipe.lr_d)):
            for group in optimizer.param_groups:
                group["lr"] = lr * max(factor, 0.0) * group.get("lr_factor", 1.0)

    def optimizer_step(self, optimizer: torch.optim.Optimizer, *losses: Tensor) -> None:
        """Backpropagates the losses and takes one step with gradients averaged over processes."""
        # None, not zeros: Adam skips parameters that this phase did not use.
        optimizer.zero_grad(set_to_none=True)
        # One backward pass per loss: a penalty holds a second-order graph, which is freed at once.
        for loss in losses:
            loss.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # After all backward passes, so one exchange serves losses and penalty.
        self.processes.all_reduce_mean(p.grad for p in parameters)
        optimizer.step()

    def adversarial_step(self, batch: Batch) -> None:
        """Takes one discriminator step and, when due, one generator step on the same edited faces.

        The generator does not change in between, so it runs once, with a graph only if its own step
        follows.
        """
        method, dtype = self.method, self.recipe.dtype
        g_due = self.step % method.config.g_interval == 0

        # ---- edits under random targets, shared by both steps
        target = method.sample_targets(batch, self.rng)
        with hardware.autocast(self.device, dtype), torch.set_grad_enabled(g_due):
            x_fake = method.fake(batch, target)

        # ---- discriminator
        # Detached: D's loss must not reach G, whose graph the next phase needs intact.
        self.discriminator_step(batch, target, x_fake.detach())

        # ---- generator
        if g_due:
            # Gradients of D's weights are a third of its backward pass and are not used here.
            method.D.requires_grad_(False)
            with hardware.autocast(self.device, dtype):
                terms = method.g_loss(batch, target, x_fake) | method.pixel_loss(batch, x_fake)
                # pixel_loss is added here for all methods, so that none can forget it.
                loss = self.meter.add("g", terms, self.step)
            self.optimizer_step(self.opt_g, loss)
            method.D.requires_grad_(True)
            self.update_ema()

    def discriminator_step(self, batch: Batch, target: Any, x_fake: Tensor) -> None:
        """Takes one discriminator step: losses on real and edited faces, and the gradient penalty
        when due, in one update."""
        method = self.method

        # ---- losses on real and edited faces
        with hardware.autocast(self.device, self.recipe.dtype):
            losses = [self.meter.add("d", method.d_loss(batch, target, x_fake), self.step)]

        # ---- gradient penalty
        if self.step % method.config.penalty_interval == 0:
            # Outside autocast and never compiled: second derivatives in bfloat16 are noise.
            terms = method.d_penalty(batch, target, x_fake, self.rng)
            losses += [self.meter.add("d_penalty", terms, self.step)] if terms else []

        # ---- one update for both
        self.optimizer_step(self.opt_d, *losses)

    def warmup_step(self, phase: str, batch: Batch) -> None:
        """Takes one warm-up step: the discriminator as a classifier ("d_warmup"), or the generator
        as an autoencoder ("g_warmup")."""
        # ---- loss of the phase
        with hardware.autocast(self.device, self.recipe.dtype):
            if phase == "d_warmup":
                terms = self.method.d_warmup_loss(batch)
            else:
                terms = self.method.g_warmup_loss(
                    batch, self.method.sample_targets(batch, self.rng)
                )
        loss = self.meter.add(phase, terms, self.step)

        # ---- update of its network
        self.optimizer_step(self.opt_d if phase == "d_warmup" else self.opt_g, loss)
        if phase == "g_warmup":
            self.update_ema()

    @torch.no_grad()
    def update_ema(self) -> None:
        """Updates the averaged generator.

        Not torch.optim.swa_utils.AveragedModel: its decay is fixed and its first update copies,
        while this decay rises with the steps, so that initial weights vanish early, and a method
        may exclude parameters (`not_averaged`).
        """
        self.g_steps += 1
        # Initial weights vanish within tens of steps: the decay starts at 2 / 11.
        decay = min(self.recipe.ema_decay, (1 + self.g_steps) / (10 + self.g_steps))
        ema, own = dict(self.ema.named_parameters()), dict(self.method.G.named_parameters())
        copied = {n for n in own if n.startswith(self.method.not_averaged)}
        averaged = [n for n in own if n not in copied]
        torch._foreach_lerp_([ema[n] for n in averaged], [own[n] for n in averaged], 1 - decay)
        for name in copied:
            ema[name].copy_(own[name])
        # Spectral norms keep singular vectors in buffers: an average of old ones means nothing.
        buffers = dict(self.method.G.named_buffers())
        for name, buffer in self.ema.named_buffers():
            buffer.copy_(buffers[name])

    def train_step(self, batch: Batch) -> None:
        """Takes one step of the phase that is due: warm-up of D, warm-up of G, or adversarial."""
        recipe = self.recipe
        self.schedule()
        # Phases follow each other; kimg counts through all of them.
        if self.kimg < recipe.d_warmup_kimg:
            self.warmup_step("d_warmup", batch)
        elif self.kimg < recipe.d_warmup_kimg + recipe.g_warmup_kimg:
            self.warmup_step("g_warmup", batch)
        else:
            self.adversarial_step(batch)
        self.step += 1

    def export(self) -> Method:
        """Returns the method with the averaged generator and no discriminator, float32 on the
        CPU."""
        method = self.method
        exported = type(method)(method.config, method.emotions, method.size, training=False)
        # The average is what is published: single steps of a GAN oscillate around it.
        exported.G.load_state_dict(self.ema.state_dict())
        return exported
