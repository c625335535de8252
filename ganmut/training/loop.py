"""The training loop: set-up, steps, reports and snapshots. It names no method."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ganmut import __version__, weights
from ganmut import device as hardware
from ganmut.datasets.base import FaceSet, open_source
from ganmut.errors import ParameterError
from ganmut.methods.base import METHODS, Config
from ganmut.text import quantity
from ganmut.training import sample_grid
from ganmut.training.config import Recipe, settings_hash
from ganmut.training.distributed import ProcessGroup, init_process_group
from ganmut.training.logs import Log, check_logs, numbers_of, open_logs
from ganmut.training.run_dir import KEEP, RunDir, RunError, inherit_discriminator
from ganmut.training.sampler import Sampler
from ganmut.training.trainer import Trainer

log = logging.getLogger(__name__)

BAR = "{l_bar}{bar}| {n:.4g}/{total:.6g} kimg [{elapsed}<{remaining}]"


def train(
    recipe: Recipe,
    config: Config,
    out: str | Path = "runs",
    *,
    device: str | None = None,
    resume: str | Path | None = None,
    accept_changed_data: bool = False,
    compiled: bool = False,
    log_to: Sequence[str] = (),
    image_memory_gib: float | None = None,
    checkpoint_kimg: float | None = None,
    progress: bool = True,
) -> Path | None:
    """Trains a method and returns its run directory, whose `weights/` an Editor loads. Returns
    None in the processes of torchrun that write nothing.

    resume: a run directory whose newest snapshot is continued bit for bit; recipe and config must
    be its own. accept_changed_data: go on with other faces than the snapshot's, which the weight's
    config then says. log_to: names in `logs.LOGS`, which get the reports too.
    image_memory_gib: images that take more are streamed from their files, see `Sampler`.
    checkpoint_kimg: thousands of images between weight folders that stay in `checkpoints/`, for
    learning curves; None: none. Raises RunError (directory, changed faces), InUse (another process
    trains this run), BadData (faces), DivergenceError (a loss that is not finite), ProcessLost (a
    process was killed), ParameterError (a log that is not there).
    """
    check_logs(log_to)
    if checkpoint_kimg is not None and not checkpoint_kimg > 0:
        raise ParameterError("checkpoint_kimg", f"it must be above 0, got {checkpoint_kimg}")
    if image_memory_gib is not None and not image_memory_gib >= 0:
        raise ParameterError("image_memory_gib", f"it must be 0 or more, got {image_memory_gib}")
    # ---- processes, device, faces
    processes, target = init_process_group(hardware.select_device(device))
    processes.local_batch(recipe.batch)  # before minutes of decoding
    progress = progress and processes.is_main
    warmups = recipe.d_warmup_kimg + recipe.g_warmup_kimg
    if warmups >= recipe.kimg and processes.is_main:
        log.warning(
            "the warm-ups (%g kimg) take the whole training (%g kimg), so that no edit is learned: "
            "lower d_warmup_kimg and g_warmup_kimg, or raise kimg",
            warmups,
            recipe.kimg,
        )
    # Faces before networks: setup_data takes the units of emotions from them.
    faces = prepare(recipe, processes, progress)

    # ---- networks, from scratch or from a trained weight
    # torch.nn initialises parameters with the global generator, so that one is seeded here.
    torch.manual_seed(recipe.seed)
    method = METHODS[recipe.method](config, faces.emotions, recipe.size)
    method.setup_data(faces)
    donor = None
    if recipe.init_from and not resume:
        donor = weights.read(weights.resolve(recipe.init_from), "editor")
        # D of a weight folder does not exist; only a run's snapshot has one to inherit.
        method.init_from(weights.build_method(donor))
        if inherit_discriminator(method.D, recipe.init_from) and progress:
            print(f"the discriminator of {recipe.init_from} is loaded: d_warmup_kimg can be 0")

    # ---- optimizers, averaged generator
    trainer = Trainer(method, recipe, target, processes)
    trainer.origin["data"] = [data_record(0.0, faces)]
    if donor:
        trainer.origin |= {k: donor.config.get(k, 0) for k in ("kimg", "g_steps", "minutes")}

    # ---- run directory, held and written by the main process alone
    run = None
    if resume or processes.is_main:
        # A new snapshot is written before the oldest is deleted.
        need = (KEEP + 1) * trainer.snapshot_bytes()
        run = RunDir.open(resume) if resume else RunDir.create(out, recipe, config, need)
    with run.lock() if run and processes.is_main else contextlib.nullcontext():
        if resume and run:
            restore(trainer, run, faces, accept_changed_data)
        # The main process must not write before all others have read the snapshot.
        processes.barrier()
        if resume and run and processes.is_main:
            run.trim_log(trainer.step)
        if compiled:
            method.G.compile()
            method.D.compile()

        # ---- steps, then the weight folder
        logs = open_logs(log_to, run, trainer.step) if run and processes.is_main else []
        with contextlib.ExitStack() as stack:
            for other in logs:
                stack.callback(other.close)
            sampler = Sampler(faces, recipe, target, processes, image_memory_gib)
            if sampler.streams and processes.is_main:
                log.warning(
                    "the images stream from their files: they take more than image_memory_gib"
                )
            loop(trainer, run, sampler, progress, logs, checkpoint_kimg or math.inf)
        processes.close()
        if run is None or not processes.is_main:
            return None
        save_weights(trainer, run.path / "weights", faces)
    return run.path


def restore(trainer: Trainer, run: RunDir, faces: FaceSet, accept_changed_data: bool) -> None:
    """Loads the newest snapshot of a run; a warning says where there is none yet. Raises RunError
    where the snapshot was trained on other faces, unless they are accepted."""
    snapshot = run.latest()
    if snapshot:
        # Snapshots of earlier versions do not hold the fingerprint of their faces.
        history = snapshot.meta["origin"].get("data") or trainer.origin["data"]
        before, record = history[-1], data_record(trainer.kimg, faces)
        # The content is compared where both know it: caches of earlier versions do not.
        keys = [key for key in ("fingerprint", "content") if before.get(key) and record[key]]
        changed = any(before[key] != record[key] for key in keys)
        if changed and not accept_changed_data:
            now = f"{data_id(record)} ({quantity(len(faces), 'face')} of {faces.source})"
            raise RunError(
                f"the training data of {run.path} have changed: fingerprint "
                f"{data_id(before)} is now {now}; put back the data, or accept that the rest "
                "of the training sees others",
                "accept_changed_data",
            )
        trainer.restore(snapshot)
        added = [data_record(trainer.kimg, faces)] if changed else []
        trainer.origin["data"] = [*history, *added]
        if changed and trainer.processes.is_main:
            log.warning("%s: other training data from kimg %g on", run.path, trainer.kimg)
    elif trainer.processes.is_main:
        log.warning("%s has no snapshot yet: the training begins at its first step", run.path)


def prepare(recipe: Recipe, processes: ProcessGroup, progress: bool) -> FaceSet:
    """Returns the training faces. The main process renders or decodes them first, and the others
    read its cache."""
    if not processes.is_main:
        processes.barrier()
    faces = open_source(recipe.data).load(
        "train", recipe.size, recipe.faces or None, seed=recipe.seed, progress=progress
    )
    if processes.is_main:
        processes.barrier()
    return faces


def loop(
    trainer: Trainer,
    run: RunDir | None,
    sampler: Sampler,
    progress: bool,
    logs: Sequence[Log] = (),
    checkpoint_kimg: float = math.inf,
) -> None:
    """Takes steps until the recipe's kimg; the main process writes a report, a sample grid and a
    snapshot every tick, hands report and grid to the logs, and keeps the weight at the first tick
    from each multiple of checkpoint_kimg on."""
    # ---- counters and schedule of reports
    recipe, faces = trainer.recipe, sampler.faces
    shown = sample_grid.choose_faces(faces)
    # The clock goes on where the snapshot stopped: hours between two runs do not count.
    start, since = time.perf_counter() - trainer.seconds, (time.perf_counter(), trainer.kimg)
    # Ticks lie at multiples of kimg_per_tick, so a resumed run reports at the same ones.
    ticks = passed_multiples(trainer.kimg, recipe.kimg_per_tick)
    with tqdm(
        total=recipe.kimg, initial=trainer.kimg, unit="kimg", disable=not progress, bar_format=BAR
    ) as bar:
        while trainer.step < recipe.steps:
            # ---- one step
            trainer.train_step(sampler.batch(trainer.step, trainer.rng))
            bar.update(min(recipe.batch / 1000, recipe.kimg - bar.n))
            before, ticks = ticks, passed_multiples(trainer.kimg, recipe.kimg_per_tick)
            if ticks == before and trainer.step < recipe.steps:
                continue

            # ---- tick: every process takes part in the means and in the random states
            # Both are collective, so all processes pass here before the main one alone writes.
            terms, state = trainer.meter.read(), trainer.tensors()
            if run is None or not trainer.processes.is_main:
                continue

            # ---- report
            now = time.perf_counter()
            # Pace of the last tick, not of the run: warm-ups are cheaper than the steps that are
            # left.
            pace = (now - since[0]) / max(trainer.kimg - since[1], 1e-9)
            kept, passed = (passed_multiples(k, checkpoint_kimg) for k in (since[1], trainer.kimg))
            since, trainer.seconds = (now, trainer.kimg), now - start
            first = trainer.opt_g.param_groups[0]
            record = {
                "kimg": round(trainer.kimg, 3),
                "step": trainer.step,
                "sec_per_kimg": round(pace, 3),
                "seconds": round(trainer.seconds, 1),
                "left": round(pace * (recipe.kimg - trainer.kimg), 1),
                "lr_g": first["lr"] / first["lr_factor"],
                "memory_gib": round(hardware.peak_memory_gib(trainer.device), 2),
                **terms,
                **trainer.method.log_metrics(),
            }
            run.log(record)
            bar.write(status(record))

            # ---- sample grid and snapshot
            # The averaged generator, since that is what the weight will hold.
            grid = sample_grid.render_grid(trainer.export(), shown, faces.grey, trainer.device)
            run.sample(trainer.kimg, grid)
            for other in logs:
                other.write(trainer.step, numbers_of(record), grid)
            if passed > kept:
                save_weights(trainer, run.checkpoint(recipe.method, trainer.kimg), faces)
            # Last in the tick: a kill before it repeats the tick, and trim_log drops its line.
            run.snapshot(trainer.step, state, trainer.meta())


def passed_multiples(kimg: float, distance: float) -> int:
    """Returns how many multiples of a distance, from the first one on, do not exceed kimg."""
    # 0.3 / 0.1 is a little below 3.
    return math.floor(kimg / distance + 1e-9)


def status(record: dict[str, Any]) -> str:
    """Returns one line: kimg, seconds per kimg, time left, memory, losses."""
    left = tqdm.format_interval(max(record["left"], 0))
    head = f"kimg {record['kimg']:8.1f}  sec/kimg {record['sec_per_kimg']:6.2f}  left {left}"
    known = ("kimg", "step", "sec_per_kimg", "seconds", "left", "lr_g", "memory_gib")
    tail = "  ".join(f"{k} {v:.3f}" for k, v in record.items() if k not in known)
    return f"{head}  mem {record['memory_gib']:.1f}G  {tail}"


def data_record(kimg: float, faces: FaceSet) -> dict[str, Any]:
    """Returns what a snapshot holds of the faces that are seen from a kimg on."""
    return {"kimg": kimg, "fingerprint": faces.fingerprint, "content": faces.content}


def data_id(record: dict[str, Any]) -> str:
    """Returns the fingerprint of a `data_record`, with the content where that is known."""
    return " ".join(filter(None, (record["fingerprint"], record.get("content"))))


def training_record(trainer: Trainer, faces: FaceSet) -> dict[str, Any]:
    """Returns the entries of a weight's config.json about its training. kimg, g_steps and minutes
    include those of the weight in `init_from`."""
    recipe, config, origin = trainer.recipe, trainer.method.config, trainer.origin
    parts = (f"from kimg {part['kimg']:g}: {data_id(part)}" for part in origin["data"])
    return {
        "recipe": dataclasses.asdict(recipe),
        "recipe_hash": settings_hash(recipe, config),
        "data": recipe.data.partition(":")[0],
        "data_fingerprint": faces.fingerprint,
        **({"data_changes": "; ".join(parts)} if len(origin["data"]) > 1 else {}),
        "crop": faces.crop,
        "grey": faces.grey,
        "commit": origin["commit"],
        "kimg": round(origin["kimg"] + trainer.kimg, 3),
        "g_steps": origin["g_steps"] + trainer.g_steps,
        "hardware": hardware.device_name(trainer.device),
        "minutes": round(origin["minutes"] + trainer.seconds / 60, 1),
        "ganmut": __version__,  # an installed package has no commit
        "torch": torch.__version__,
    }


def save_weights(trainer: Trainer, folder: Path, faces: FaceSet) -> Path:
    """Writes the averaged generator as a weight folder and returns it.

    Its golden faces are rendered ones: a weight folder must not carry training photographs.
    """
    rendered = open_source("procedural").load("test", trainer.recipe.size, 3, progress=False)
    record = training_record(trainer, faces)
    return weights.save(folder, trainer.export(), record, rendered.faces())
