"""The training loop: warm-ups, phases, averaging, ticks, snapshots, resume. It names no method."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ganmut import device as hardware
from ganmut import weights
from ganmut.datasets.base import Batch, FaceSet, open_source
from ganmut.methods.base import METHODS, Config, Method
from ganmut.revision import commit
from ganmut.training import sample_grid
from ganmut.training.config import Recipe, digest
from ganmut.training.distributed import ALONE, Crew, join
from ganmut.training.run_dir import (
    RunDir,
    RunError,
    inherit_critics,
    module_tensors,
    optimizer_tensors,
    restore_module,
    restore_optimizer,
)
from ganmut.training.sampler import Sampler


class Diverged(RuntimeError):
    """A loss that is NaN or infinite; the message names phase, term and step."""


class Meter:
    """Means of loss terms over a tick, kept on the device: no term is read before the tick ends."""

    def __init__(self, crew: Crew = ALONE) -> None:
        self.crew = crew
        self.sums: dict[str, Tensor] = {}
        self.bad: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, phase: str, terms: dict[str, Tensor], step: int) -> Tensor:
        """Notes the terms of one step and returns their sum, which is what the step minimises."""
        for name, term in terms.items():
            key, value = f"{phase}/{name}", term.detach().float()
            known = key in self.sums
            self.sums[key] = self.sums[key] + value if known else value
            self.counts[key] = self.counts.get(key, 0) + 1
            first = torch.where(value.isfinite(), math.inf, float(step))
            self.bad[key] = torch.minimum(self.bad[key], first) if known else first
        return torch.stack([term.float() for term in terms.values()]).sum()

    def read(self) -> dict[str, float]:
        """Means by "phase/term" over steps and processes, and a fresh start; raises Diverged at the
        first step that was not finite."""
        self.crew.average(self.sums.values())
        broken = {key: float(self.crew.least(step)) for key, step in self.bad.items()}
        broken = {key: step for key, step in broken.items() if step < math.inf}
        if broken:
            key = min(broken, key=lambda k: broken[k])
            phase, term = key.split("/")
            raise Diverged(
                f"phase {phase}, term {term} is not finite at step {broken[key]:.0f}; "
                "resume from the last snapshot with a lower --lr_g and --lr_d, or with --dtype fp32"
            )
        means = {key: round(float(total) / self.counts[key], 5) for key, total in self.sums.items()}
        self.__init__(self.crew)
        return means


def by_pace(method: Method) -> list[dict[str, Any]]:
    """Parameter groups of the generator, one for each of the method's learning-rate factors."""
    groups: dict[float, list[Tensor]] = {}
    scale = method.lr_scale()
    for name, parameter in method.G.named_parameters():
        pace = next((f for k, f in scale.items() if name.startswith(k)), 1.0)
        groups.setdefault(pace, []).append(parameter)
    return [{"params": params, "pace": pace} for pace, params in groups.items()]


class Game:
    """The two players, their optimisers and the averaged generator: all that a snapshot holds."""

    def __init__(self, method: Method, recipe: Recipe, device: torch.device, crew: Crew = ALONE):
        self.method, self.recipe, self.device, self.crew = method, recipe, device, crew
        method.to(device).to(memory_format=hardware.memory_format(device))
        self.average = copy.deepcopy(method.G).requires_grad_(False)
        betas = (recipe.beta1, recipe.beta2)
        decay = recipe.weight_decay
        groups = by_pace(method)
        self.opt_g = torch.optim.Adam(groups, recipe.lr_g, betas, weight_decay=decay, fused=True)
        parameters = method.D.parameters()
        self.opt_d = torch.optim.Adam(
            parameters, recipe.lr_d, betas, weight_decay=decay, fused=True
        )
        self.rng = method.rng = hardware.generator(recipe.seed + self.crew.rank)
        self.meter = Meter(self.crew)
        self.step = self.g_steps = 0
        self.seconds = 0.0
        # The commit it began with, and what the weight that it started from had been through.
        self.origin: dict[str, Any] = {"commit": commit(), "kimg": 0, "g_steps": 0, "minutes": 0}

    @property
    def kimg(self) -> float:
        return self.step * self.recipe.batch / 1000

    def tensors(self) -> dict[str, Tensor]:
        return (
            module_tensors("method", self.method)
            | module_tensors("average", self.average)
            | optimizer_tensors("opt_g", self.opt_g)
            | optimizer_tensors("opt_d", self.opt_d)
            | dict(zip(self.states(), self.crew.gather(self.rng.get_state()), strict=True))
        )

    def states(self) -> list[str]:
        """Names of the processes' random states."""
        return [f"rng{rank or ''}" for rank in range(self.crew.size)]

    def meta(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "g_steps": self.g_steps,
            "seconds": self.seconds,
            "origin": self.origin,
        }

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        restore_module("method", self.method, tensors)
        restore_module("average", self.average, tensors)
        restore_optimizer("opt_g", self.opt_g, tensors)
        restore_optimizer("opt_d", self.opt_d, tensors)
        had = sum(name.startswith("rng") for name in tensors)
        if had != self.crew.size:
            raise RunError(
                f"{had} processes began this training and {self.crew.size} would go on; "
                f"use torchrun --nproc-per-node {had}"
            )
        self.rng.set_state(tensors[self.states()[self.crew.rank]])
        self.step, self.g_steps, self.seconds = meta["step"], meta["g_steps"], meta["seconds"]
        self.origin = meta["origin"]

    def schedule(self) -> None:
        """Constant learning rate, then linear to zero over the last `decay` of the training, step
        by step."""
        self.method.progress = self.kimg / self.recipe.kimg
        left = 1 - self.method.progress
        factor = min(1.0, left / self.recipe.decay) if self.recipe.decay else 1.0
        for optimizer, lr in ((self.opt_g, self.recipe.lr_g), (self.opt_d, self.recipe.lr_d)):
            for group in optimizer.param_groups:
                group["lr"] = lr * max(factor, 0.0) * group.get("pace", 1.0)

    def descend(self, optimizer: torch.optim.Optimizer, *loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        for part in loss:
            part.backward()
        own = [p for group in optimizer.param_groups for p in group["params"]]
        self.crew.average(p.grad for p in own)
        optimizer.step()

    def play(self, batch: Batch) -> None:
        """One discriminator step and, when it is due, one generator step on the same edited faces.

        The generator does not change in between, so its faces are made once, with a graph only if
        its own step follows.
        """
        method, dtype = self.method, self.recipe.dtype
        g_due = self.step % method.config.g_interval == 0
        target = method.draw(batch, self.rng)
        with hardware.autocast(self.device, dtype), torch.set_grad_enabled(g_due):
            x_fake = method.fake(batch, target)
        self.step_d(batch, target, x_fake.detach())
        if g_due:
            method.D.requires_grad_(False)  # its gradients are not needed: a third of its work
            with hardware.autocast(self.device, dtype):
                terms = method.g_loss(batch, target, x_fake) | method.keep(batch, x_fake)
                loss = self.meter.add("g", terms, self.step)
            self.descend(self.opt_g, loss)
            method.D.requires_grad_(True)
            self.follow()

    def step_d(self, batch: Batch, target: Any, x_fake: Tensor) -> None:
        """The discriminator's losses on real and edited faces, and the penalty when it is due, in
        one update."""
        method = self.method
        with hardware.autocast(self.device, self.recipe.dtype):
            losses = [self.meter.add("d", method.d_loss(batch, target, x_fake), self.step)]
        if self.step % method.config.penalty_interval == 0:
            # float32, and never compiled: a second derivative in bfloat16 is noise
            terms = method.d_penalty(batch, target, x_fake, self.rng)
            losses += [self.meter.add("d_penalty", terms, self.step)] if terms else []
        self.descend(self.opt_d, *losses)

    def warm(self, phase: str, batch: Batch) -> None:
        """One step of a warm-up: the discriminator as a classifier, or the generator as an
        autoencoder."""
        with hardware.autocast(self.device, self.recipe.dtype):
            if phase == "warm_d":
                terms = self.method.warm_d(batch)
            else:
                terms = self.method.warm_g(batch, self.method.draw(batch, self.rng))
        loss = self.meter.add(phase, terms, self.step)
        self.descend(self.opt_d if phase == "warm_d" else self.opt_g, loss)
        if phase == "warm_g":
            self.follow()

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the averaged generator; early on it follows faster, so that it forgets the
        start."""
        self.g_steps += 1
        decay = min(self.recipe.average, (1 + self.g_steps) / (10 + self.g_steps))
        kept, own = dict(self.average.named_parameters()), dict(self.method.G.named_parameters())
        copied = {n for n in own if n.startswith(self.method.not_averaged)}
        averaged = [n for n in own if n not in copied]
        torch._foreach_lerp_([kept[n] for n in averaged], [own[n] for n in averaged], 1 - decay)
        for name in copied:
            kept[name].copy_(own[name])

    def advance(self, batch: Batch) -> None:
        """One step of whichever phases are due."""
        recipe = self.recipe
        self.schedule()
        if self.kimg < recipe.warm_d:
            self.warm("warm_d", batch)
        elif self.kimg < recipe.warm_d + recipe.warm_g:
            self.warm("warm_g", batch)
        else:
            self.play(batch)
        self.step += 1

    def shipped(self) -> Method:
        """The method with the averaged generator, in full precision on the CPU, without a
        discriminator."""
        method = self.method
        twin = type(method)(method.config, method.emotions, method.size, training=False)
        twin.G.load_state_dict(self.average.state_dict())
        return twin


def train(
    recipe: Recipe,
    config: Config,
    out: str | Path = "runs",
    *,
    device: str | None = None,
    resume: str | Path | None = None,
    compiled: bool = False,
    progress: bool = True,
) -> Path | None:
    """Trains a method and returns its run directory, whose `weights/` an Editor loads; None in the
    processes of torchrun that write nothing.

    resume: a run directory to continue exactly where its newest snapshot stands; recipe and config
    must be its own. Raises RunError (directory), BadData (faces), Diverged (a loss that is not
    finite).
    """
    crew, target = join(hardware.pick(device))
    share, progress = crew.share(recipe.batch), progress and crew.first
    faces = prepare(recipe, crew, progress)
    torch.manual_seed(
        recipe.seed
    )  # parameters are drawn from the global generator, as torch.nn does
    method = METHODS[recipe.method](config, faces.emotions, recipe.size)
    method.prime(faces)
    donor = None
    if recipe.start and not resume:
        donor = weights.read(weights.resolve(recipe.start), "editor")
        method.start(weights.build_method(donor))
        if inherit_critics(method.D, recipe.start) and progress:
            print(f"the critics of {recipe.start} go on: they need no --warm_d")
    need = (
        6 * 4 * sum(p.numel() for p in method.parameters())
    )  # two snapshots: weights, two moments each
    run = None  # the first process's alone
    if resume or crew.first:
        run = RunDir.open(resume) if resume else RunDir.create(out, recipe, config, need)
    game = Game(method, recipe, target, crew)
    if donor:
        game.origin |= {k: donor.config.get(k, 0) for k in ("kimg", "g_steps", "minutes")}
    state = run.latest() if resume else None
    if state:
        game.restore(*state)
    crew.wait()  # until all have read what the first one is going to write to
    if state and crew.first:
        run.trim_log(game.kimg)
    if compiled:
        method.G.compile()
        method.D.compile()
    loop(game, run, Sampler(faces, recipe, target, share), progress)
    crew.leave()
    if not crew.first:
        return None
    export(game, run, faces)
    return run.path


def prepare(recipe: Recipe, crew: Crew, progress: bool) -> FaceSet:
    """The faces of a recipe; the first process renders or decodes them, the others find them
    done."""
    if not crew.first:
        crew.wait()
    faces = open_source(recipe.data).load(
        "train", recipe.size, recipe.faces or None, seed=recipe.seed, progress=progress
    )
    if crew.first:
        crew.wait()
    return faces


def loop(game: Game, run: RunDir | None, sampler: Sampler, progress: bool) -> None:
    """Steps until the recipe's kimg, a report and a snapshot every tick, which the first process
    writes."""
    recipe, faces = game.recipe, sampler.faces
    shown = sample_grid.pick(faces)
    start, since = time.perf_counter() - game.seconds, (time.perf_counter(), game.kimg)
    total = round(recipe.kimg * 1000 / recipe.batch)
    next_tick = (math.floor(game.kimg / recipe.tick) + 1) * recipe.tick
    with tqdm(
        total=recipe.kimg, initial=game.kimg, unit="kimg", disable=not progress, bar_format=BAR
    ) as bar:
        while game.step < total:
            game.advance(sampler.batch(game.rng))
            bar.update(min(recipe.batch / 1000, recipe.kimg - bar.n))
            if game.kimg < next_tick and game.step < total:
                continue
            next_tick += recipe.tick
            terms, state = game.meter.read(), game.tensors()
            if not game.crew.first:
                continue
            now = time.perf_counter()
            pace = (now - since[0]) / max(game.kimg - since[1], 1e-9)
            since, game.seconds = (now, game.kimg), now - start
            first = game.opt_g.param_groups[0]
            record = {
                "kimg": round(game.kimg, 3),
                "step": game.step,
                "sec_per_kimg": round(pace, 3),
                "seconds": round(game.seconds, 1),
                "left": round(pace * (recipe.kimg - game.kimg), 1),
                "lr_g": first["lr"] / first["pace"],
                "memory_gib": round(hardware.memory(game.device), 2),
                **terms,
                **game.method.diagnose(),
            }
            run.log(record)
            bar.write(status(record))
            run.sample(game.kimg, sample_grid.sheet(game.shipped(), shown, faces.grey, game.device))
            run.snapshot(game.step, state, game.meta())


BAR = "{l_bar}{bar}| {n:.1f}/{total:.0f} kimg [{elapsed}<{remaining}]"


def status(record: dict[str, Any]) -> str:
    """One line: progress, pace, time left, losses, memory."""
    left = time.strftime("%H:%M:%S", time.gmtime(max(record["left"], 0)))
    head = f"kimg {record['kimg']:8.1f}  sec/kimg {record['sec_per_kimg']:6.2f}  left {left}"
    known = ("kimg", "step", "sec_per_kimg", "seconds", "left", "lr_g", "memory_gib")
    tail = "  ".join(f"{k} {v:.3f}" for k, v in record.items() if k not in known)
    return f"{head}  mem {record['memory_gib']:.1f}G  {tail}"


def facts(game: Game, faces: FaceSet) -> dict[str, Any]:
    """What a weight's config says of its training: kimg, g_steps and minutes with those of the
    weight that it started from."""
    recipe, config, origin = game.recipe, game.method.config, game.origin
    return {
        "recipe": dataclasses.asdict(recipe),
        "recipe_hash": digest(recipe, config),
        "data": recipe.data.partition(":")[0],
        "data_fingerprint": faces.fingerprint,
        "crop": faces.crop,
        "grey": faces.grey,
        "commit": origin["commit"],
        "kimg": round(origin["kimg"] + game.kimg, 3),
        "g_steps": origin["g_steps"] + game.g_steps,
        "hardware": hardware.describe(game.device),
        "minutes": round(origin["minutes"] + game.seconds / 60, 1),
        "torch": torch.__version__,
    }


def export(game: Game, run: RunDir, faces: FaceSet) -> Path:
    """Writes the averaged generator as a weight folder inside the run directory.

    Its golden faces are rendered ones whatever it was trained on: a weight must not carry anybody's
    photograph.
    """
    rendered = open_source("procedural").load("test", game.recipe.size, 3, progress=False)
    golden = rendered.faces()
    return weights.save(run.path / "weights", game.shipped(), facts(game, faces), golden)
