"""The house keeps its own rules: who imports whom, no effect at import, no unpickling, no machine
paths."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("ganmut", "bench", "demo")
FILES = [*sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py")), ROOT / "app.py"]


# The one file that reads what torch.save wrote: for who converts an authors' checkpoint, and only
# with weights_only=True, which refuses whatever is not a tensor.
CHECKPOINTS = ROOT / "ganmut" / "convert" / "base.py"


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, parsed once for all tests: nobody may change it."""
    return ast.parse(path.read_text())


@cache
def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Dotted names that a file imports."""
    tree = parsed(path)
    nodes = tree.body if top_level_only else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = module_of(node, path)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def module_of(node: ast.ImportFrom, path: Path) -> str:
    """The dotted name that `from ... import` names in a file, also where it is relative."""
    package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
    return ".".join([*package, *filter(None, [node.module])])


def offenders(files: list[Path], *forbidden: str, top_level_only: bool = False) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in sorted(imports(path, top_level_only))
        if any(name == f or name.startswith(f + ".") for f in forbidden)
    ]


def room(name: str) -> list[Path]:
    return [p for p in FILES if p.is_relative_to(ROOT / name)]


def test_arrows_point_one_way():
    assert offenders(room("ganmut"), "bench", "demo", "gradio", "matplotlib") == []
    assert offenders(room("bench"), "demo", "gradio") == []
    assert offenders(room("demo"), "bench") == []
    pageless = [ROOT / "demo" / p for p in ("service.py", "sessions/face_store.py")]
    assert offenders(pageless, "gradio") == []
    assert offenders([ROOT / "demo" / "app.py"], "torch") == []


def test_the_bench_never_names_its_package():
    """It is `bench` in a checkout and `ganmut.bench` in an installed package: a name would load the
    modules a second time, or fail."""
    for path in room("bench"):
        for node in ast.walk(parsed(path)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            named = [name for name in names if name.split(".")[0] == "bench"]
            assert named == [], f"{path.relative_to(ROOT)}:{node.lineno}"
    everything = [*FILES, *sorted((ROOT / "tests").rglob("*.py"))]
    assert offenders(everything, "ganmut.bench") == []


def test_the_demo_and_the_metrics_know_editors_only():
    inner = ("ganmut.methods", "ganmut.networks", "ganmut.training")
    measuring = [p for p in room("bench") if p.parent.name != "speed"]  # they time the loop itself
    assert offenders(room("demo") + measuring, *inner) == []


def test_methods_and_loop_are_independent():
    methods = [
        p
        for p in (ROOT / "ganmut" / "methods").glob("*.py")
        if "@METHODS.register(" in p.read_text()  # the others are what methods share
    ]
    assert methods
    for path in methods:
        others = [f"ganmut.methods.{p.stem}" for p in methods if p != path]
        assert offenders([path], *others) == []
    every = [f"ganmut.methods.{p.stem}" for p in methods]
    shared = [p for p in room("ganmut") if p not in methods]
    assert offenders(shared, *every) == []
    metrics = [
        p for p in (ROOT / "bench" / "metrics").glob("*.py") if p.stem not in ("base", "__init__")
    ]
    for path in metrics:
        assert offenders([path], *[f"bench.metrics.{p.stem}" for p in metrics if p != path]) == []


def test_heavy_libraries_are_imported_where_they_are_used():
    lazy = ("datasets", "insightface", "mediapipe", "onnxruntime", "onnx")
    assert offenders(room("ganmut"), *lazy, top_level_only=True) == []


def test_nothing_unpickles_and_no_error_is_swallowed():
    for path in FILES:
        for node in ast.walk(parsed(path)):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"bare except at {where}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                if path == CHECKPOINTS and (owner, node.func.attr) == ("torch", "load"):
                    assert ("weights_only", True) in {
                        (k.arg, getattr(k.value, "value", None)) for k in node.keywords
                    }, where
                    continue
                assert (owner, node.func.attr) not in {("torch", "load"), ("torch", "save")}, where
            if isinstance(node, ast.Import):
                assert not {"pickle", "joblib", "dill"} & {a.name for a in node.names}, where


def import_graph() -> dict[str, set[str]]:
    """Module -> the project's modules that it imports, also inside functions.

    Imports under TYPE_CHECKING are left out: they have no effect at run time.
    """
    modules = {}
    for path in FILES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in modules.items():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = []
        names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                name = module_of(node, path)
                members = {f"{name}.{alias.name}" for alias in node.names}
                submodules = members & modules.keys()
                names |= submodules if len(submodules) == len(members) else {name, *submodules}
        graph[module] = names & modules.keys() - {module}
    return graph


def test_no_import_circle():
    graph = import_graph()
    assert len(graph) > 100 and "ganmut.datasets.base" in graph["ganmut.datasets.relabel"]
    assert {"bench.figures", "bench.metrics"} <= graph["bench.runner"]
    # Modules whose imports are all resolved are removed: what stays is on a circle or behind one.
    while resolved := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in resolved}
    assert {name: sorted(needs & graph.keys()) for name, needs in graph.items()} == {}


def test_no_file_outgrows_the_house():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in FILES}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    assert not [p for p in FILES if p.stem in ("utils", "misc", "helpers")]


def test_importing_has_no_effect(tmp_path):
    code = """
import importlib, logging, torch

def state():
    cuda = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    return torch.get_num_threads(), cuda, list(logging.root.handlers), torch.initial_seed()

before = state()
for module in ("ganmut", "ganmut.training.loop", "bench.run", "demo.app"):
    importlib.import_module(module)
    assert before == state(), (module, before, state())
"""
    env = {
        "PYTHONPATH": str(ROOT),
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
    }
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
    assert [p for p in tmp_path.rglob("*") if p.is_file() and "matplotlib" not in str(p)] == []


def test_the_project_names_no_machine():
    tracked = subprocess.run(
        ["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False
    ).stdout.split("\n")
    marks = ("/" + "work/", "/" + "home/", "/" + "root/")
    for name in filter(None, tracked):
        path = ROOT / name
        if (
            path.suffix in {".py", ".md", ".toml", ".json", ".jsonl", ".yml", ".txt", ".cff"}
            and path.exists()
        ):
            text = path.read_text()
            assert not [m for m in marks if m in text], name


def test_no_test_imports_a_test():
    tests = sorted((ROOT / "tests").glob("*.py"))
    names = [path.stem for path in tests if path.stem.startswith("test_")]
    assert names and offenders(tests, "conftest", *names) == []


def test_test_names_have_at_most_eight_words():
    names = {
        f"{path.name}::{node.name}"
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert len(names) > 500
    assert [name for name in names if len(name.split("::test_")[1].split("_")) > 8] == []


def test_values_in_messages_are_bounded():
    own = {ROOT / "ganmut" / "text.py", ROOT / "ganmut" / "__init__.py"}  # its names are Python's
    offenders = set()
    for path in set(FILES) - own:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FormattedValue) and node.conversion == ord("r"):
                offenders.add(f"{path.name}:{node.lineno}: use ganmut.text.quote")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser"):
                offenders.add(f"{path.name}:{node.lineno}: use ganmut.text.Parser")
    assert offenders == set()
