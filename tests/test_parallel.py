"""Two processes under torchrun: one training, the same networks in both, resumed bit for bit."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from toys import SHORT, SHORT_OPTIONS

import ganmut
from ganmut.errors import ParameterError
from ganmut.training.distributed import ProcessGroup, init_process_group
from ganmut.training.run_dir import RunDir

ROOT = Path(ganmut.__file__).parent.parent

# Then the command of its arguments, in the same processes: a further start costs seconds.
SAME = """
import glob
import sys
import torch
from ganmut.cli import main
from ganmut.training import config as recipes
from ganmut.training import presets
from ganmut.datasets.base import Batch
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.training.distributed import init_process_group
from ganmut.training.trainer import Trainer

processes, device = init_process_group(torch.device("cpu"))
assert processes.size == 2 and processes.local_batch(16) == 8
own = torch.tensor([1.0 + processes.rank, 4.0])
processes.all_reduce_mean([own, None])
assert own.tolist() == [1.5, 4.0]
assert float(processes.all_reduce_min(torch.tensor(3.0 - processes.rank))) == 2
assert [t.tolist() for t in processes.all_gather(torch.tensor([processes.rank]))] == [[0], [1]]

recipe, config = presets.resolve_settings("ganimation", "stable", "cpu", **OPTIONS)
torch.manual_seed(0)
trainer = Trainer(METHODS["ganimation"](config, EMOTIONS, 32), recipe, device, processes)
rng = torch.Generator().manual_seed(processes.rank)
for _ in range(8):  # both warm-ups and the adversarial phase
    x = torch.rand(8, 3, 32, 32, generator=rng) * 2 - 1
    emotion = torch.randint(7, (8,), generator=rng)
    trainer.train_step(Batch(x, emotion, torch.rand(8, 17, generator=rng)))
for name, value in trainer.method.named_parameters():
    one, two = processes.all_gather(value.detach())
    assert torch.equal(one, two), name
one, two = processes.all_gather(trainer.rng.get_state())
assert not torch.equal(one, two)
print("the same" if processes.is_main else "")
status = main(sys.argv[1:])
# Threads of gloo that outlive the interpreter abort it, now and then.
assert "gloo" not in "".join(open(name).read() for name in glob.glob("/proc/self/task/*/comm"))
sys.exit(status)
"""


def torchrun(*words: str) -> subprocess.CompletedProcess:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*start, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def both(*words: str) -> list[subprocess.Popen]:
    """Two processes with the environment that torchrun gives them, without its launcher."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return [
        subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def test_two_processes_share_networks_and_resume(tmp_path):
    """The same networks, other random numbers; resumed bit for bit."""
    script, out = tmp_path / "same.py", tmp_path / "runs"
    script.write_text(SAME.replace("**OPTIONS", f"**{SHORT!r}"))
    done = torchrun(str(script), "train", "ganmut", *SHORT_OPTIONS, "--device=cpu", f"--out={out}")
    assert "the same" in done.stdout
    (run,) = out.iterdir()
    assert done.stdout.count("weights in") == 1
    assert ganmut.load(run / "weights").config["kimg"] == SHORT["kimg"]
    _, newer = RunDir(run).snapshots()
    whole = load_file(newer)
    assert {"rng", "rng1"} <= set(whole)
    newer.unlink()
    for process in both("-m", "ganmut", "train", "resume", str(run), "--device=cpu"):
        error = process.communicate(timeout=300)[1]
        assert process.returncode == 0, error[-3000:]
    again = load_file(RunDir(run).snapshots()[-1])
    assert [k for k in whole if not torch.equal(whole[k], again[k])] == []
    with pytest.raises(SystemExit) as stop:
        alone(["train", "resume", str(run), "--device=cpu"])
    assert stop.value.code == 2


def alone(words: list[str]) -> None:
    from ganmut.cli import main

    sys.exit(main(words))


LOST = """
import os, signal, sys, torch
from ganmut import interrupts
from ganmut.training.distributed import ProcessLost, init_process_group

processes, device = init_process_group(torch.device("cpu"))
processes.barrier()
if not processes.is_main:
    os.kill(os.getpid(), signal.SIGKILL)
try:
    for step in range(100):
        processes.all_reduce_mean([torch.ones(1000)])
except ProcessLost as error:
    print(error, file=sys.stderr)
    interrupts.leave(3)
"""


def test_a_killed_process_ends_the_others(tmp_path):
    lost = both("-c", LOST)
    error = lost[0].communicate(timeout=60)[1]
    lost[1].communicate(timeout=60)
    assert [process.returncode for process in lost] == [3, -9], error
    assert "resume" in error and "Traceback" not in error and error.count("\n") == 1


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"\b16\b.*\b3\b"):
        ProcessGroup(0, 3).local_batch(16)


def start_on_gpus(monkeypatch, gpus: int, rank: int, name: str = "cuda"):
    """What the process of a local rank would start on a machine with GPUs."""
    asked = {}
    for key, value in {"TORCHELASTIC_RUN_ID": "1", "LOCAL_RANK": str(rank)}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: asked.update(current=device))
    monkeypatch.setattr(dist, "init_process_group", lambda *a, **k: asked.update(backend=a, **k))
    monkeypatch.setattr(dist, "get_rank", lambda: rank)
    monkeypatch.setattr(dist, "get_world_size", lambda: gpus)
    return init_process_group(torch.device(name)), asked


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_every_process_has_its_gpu(name, monkeypatch):
    (processes, device), asked = start_on_gpus(monkeypatch, 2, 1, name)
    assert device == asked["current"] == torch.device("cuda", 1) and not processes.is_main
    # Decoding a data set may take longer than NCCL's ten minutes.
    assert asked["backend"] == ("nccl",) and asked["timeout"].total_seconds() > 12 * 3600


def test_more_processes_than_gpus_are_refused(monkeypatch):
    with pytest.raises(ParameterError, match=r"finds 1\b.*nproc-per-node"):
        start_on_gpus(monkeypatch, 1, 1)
