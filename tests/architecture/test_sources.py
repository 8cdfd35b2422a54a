"""House rules that no linter checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import ApiSettings
from tests.paths import ROOT

PACKAGES = ("api", "carot", "cli", "migrations", "store", "worker")
MOST_LINES = 500
MOST_LOOSE = 12
MOST_LINES_OF_A_FUNCTION = 60
# A training loop reads better whole than chopped.
LONGER = {"carot/training/trainer.py:fit": 120}
FORBIDDEN = {
    "pickle": "loading a pickle runs code",
    "cPickle": "loading a pickle runs code",
    "dill": "loading a pickle runs code",
    "shelve": "a shelf is pickles",
    "marshal": "not made for untrusted data",
    "cloudpickle": "loading a pickle runs code",
    "joblib": "loading a pickle runs code",
    "_pickle": "loading a pickle runs code",
}
FORBIDDEN_CALLS = {
    "torch.load": "a pickle; weights are safetensors",
    "torch.save": "a pickle; weights are safetensors",
    "np.load": None,
    "numpy.load": None,
    "os.system": "a shell",
    "os.popen": "a shell",
    "subprocess.getoutput": "a shell",
    "subprocess.getstatusoutput": "a shell",
    "yaml.load": "makes whatever objects it is told to",
    "yaml.unsafe_load": "makes whatever objects it is told to",
    "yaml.full_load": "makes whatever objects it is told to",
    "compile": "runs what it is given",
    "pd.read_pickle": "a pickle",
    "joblib.load": "a pickle",
    "eval": "runs what it is given",
    "exec": "runs what it is given",
}


def sources() -> list[Path]:
    """Every Python file of the product."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def all_python() -> list[Path]:
    """Every Python file of the project."""
    others = (path for folder in ("benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))
    return [*sources(), *sorted(others)]


def offences(text: str) -> Iterator[str]:
    """What a source must not do, each with its line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _forbidden_module(alias.name, node)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from _forbidden_module(node.module, node)
        elif isinstance(node, ast.Call):
            yield from _forbidden_call(node)


def _forbidden_module(name: str, node: ast.stmt) -> Iterator[str]:
    if reason := FORBIDDEN.get(name.partition(".")[0]):
        yield f"line {node.lineno}: import {name}: {reason}"


def _forbidden_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
    if name in FORBIDDEN_CALLS:
        reason = FORBIDDEN_CALLS[name]
        if reason is not None:
            yield f"line {node.lineno}: {name}: {reason}"
        elif keywords.get("allow_pickle", "False") != "False":
            yield f"line {node.lineno}: {name}: with pickles"
    if name in ("Image.open", "PIL.Image.open") and "formats" not in keywords:
        yield f"line {node.lineno}: {name}: with every decoder that Pillow has"
    if name.endswith((".seek", ".tell")) and "image" in name.lower():
        yield f"line {node.lineno}: {name}: frames beyond the first bypass the checks"
    if name.endswith(".extractall"):
        yield f"line {node.lineno}: extractall writes where the archive says"
    if keywords.get("shell", "False") != "False":
        yield f"line {node.lineno}: a shell"


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "archive.extractall(folder)",
        "subprocess.run(text, shell=True)",
        "eval(text)",
        "exec(text)",
        "yaml.load(text)",
        "Image.open(file)",
        "PIL.Image.open(file, 'r')",
        "image.seek(1)",
        "from joblib import load",
        "subprocess.Popen(text, shell=unsafe)",
    ],
)
def test_offences_are_seen(text: str) -> None:
    assert list(offences(text))


@pytest.mark.parametrize(
    "text",
    [
        "np.load(path)",
        "model.eval()",
        "subprocess.run(['ls'])",
        "re.compile(text)",
        "yaml.safe_load(text)",
        "Image.open(file, formats=FORMATS)",
        "file.seek(1)",
    ],
)
def test_harmless_lines_are_not(text: str) -> None:
    assert not list(offences(text))


def test_sources_keep_the_rules() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sources()
        if (wrong := list(offences(path.read_text(encoding="utf-8"))))
    }
    assert not found


WRITES_ONE = ROOT / "tests" / "carot" / "models" / "test_folders.py"
"""Writes weights as others publish them, to see that nothing but tensors is read of them."""


@pytest.mark.slow
def test_tests_and_benchmarks_load_no_pickles_either() -> None:
    """`extractall` of an archive that a test has made itself, with a filter, is its own affair."""
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in set(all_python()) - set(sources()) - {WRITES_ONE}
        if (
            wrong := [
                line
                for line in offences(path.read_text(encoding="utf-8"))
                if "pickle" in line or "runs code" in line or "a shell" in line
            ]
        )
    }
    assert not found


def test_files_stay_readable() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in all_python()
    }
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_few_files_lie_loose_at_a_root() -> None:
    """One subject, one folder: what belongs to one does not lie beside the folders."""
    loose = {name: len(list((ROOT / name).glob("*.py"))) for name in ("api", "carot", "store")}
    assert {name: n for name, n in loose.items() if n > MOST_LOOSE} == {}


def test_functions_stay_readable() -> None:
    long = {}
    for path in sources():
        if path.is_relative_to(ROOT / "migrations" / "versions"):
            continue  # a revision is one list of tables
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                name = f"{path.relative_to(ROOT)}:{node.name}"
                if length > LONGER.get(name, MOST_LINES_OF_A_FUNCTION):
                    long[name] = length
    assert long == {}


def test_every_setting_says_what_it_is() -> None:
    silent = [n for n, f in ApiSettings.model_fields.items() if not (f.description or "").strip()]
    assert silent == []
