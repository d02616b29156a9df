"""What is shipped: complete, of one version, and working with nothing but the dependencies it declares."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

import rootspace

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


SHIPPED = (
    *("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md"),
    *("Makefile", "constraints.txt", "mkdocs.yml"),
)
FOLDERS = ("benchmarks", "docs", "tests")


def run(*command: object, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    environment = {**kept, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "ROOTSPACE_CACHE": str(cwd / "cache")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


class Built(NamedTuple):
    source: Path
    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A source distribution of a copy of the tree, and a wheel built from that and nothing else."""
    place = tmp_path_factory.mktemp("dist")
    source, unpacked = place / "source", place / "unpacked"
    source.mkdir()
    for name in SHIPPED:
        shutil.copy(ROOT / name, source)
    for name in ("src", *FOLDERS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = "import sys; from setuptools import build_meta as b; getattr(b, 'build_' + sys.argv[1])(sys.argv[2])"
    run(sys.executable, "-c", build, "sdist", place, cwd=source)
    (sdist,) = place.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (tree,) = unpacked.iterdir()
    run(sys.executable, "-c", build, "wheel", place, cwd=tree)
    (wheel,) = place.glob("*.whl")
    return Built(source, sdist, wheel)


@pytest.fixture(scope="session")
def clean(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, its declared dependencies, and what those declare: its bin folder."""
    place = tmp_path_factory.mktemp("clean")
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for top in sorted({top for name in declared() for top in installed(name)}):
        (packages / top.name).symlink_to(top)
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", built.wheel, cwd=place)
    return place / "bin"


def declared() -> set[str]:
    """The core's dependencies and theirs, as installed here."""
    (core,) = re.findall(r"^dependencies = \[(.*)\]$", PYPROJECT, re.MULTILINE)
    waiting, found = re.findall(r'"([^"]+)"', core), set()
    while waiting:
        wanted = Requirement(waiting.pop())
        if wanted.name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found.add(wanted.name)
            waiting += importlib.metadata.requires(wanted.name) or []
    return found


def installed(name: str) -> set[Path]:
    """What a distribution has put into the folder of packages: its folders and modules there."""
    distribution = importlib.metadata.distribution(name)
    packages = Path(str(distribution.locate_file("")))
    tops = {Path(str(file)).parts[0] for file in distribution.files or ()}
    return {packages / top for top in tops if top not in ("..", "__pycache__")}


# ---------------------------------------------------------------------- what is in it


def test_every_file_of_the_package_is_in_the_wheel(built: Built) -> None:
    folder = built.source / "src"
    wanted = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix != "" and path.is_file()}
    wanted = {name for name in wanted if ".egg-info/" not in name}
    with zipfile.ZipFile(built.wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "rootspace = rootspace.cli:main" in archive.read(entry).decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert found == wanted
    assert {"rootspace/py.typed", "rootspace/report/report.html.jinja", "rootspace/export/__init__.py"} <= found


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "src" / "rootspace").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_one_version_everywhere() -> None:
    version = rootspace.__version__
    assert re.search(r'^version = "(.+)"$', PYPROJECT, re.MULTILINE)[1] == version  # type: ignore[index]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == version  # type: ignore[index]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    named = re.search(r"^## \[(\d\S*)\]|^The first version, (\S+)\.$", changes, re.MULTILINE)
    assert named is not None
    assert (named[1] or named[2]) == version


def test_the_source_distribution_has_what_tests_and_documentation_need(built: Built) -> None:
    wanted = {path.relative_to(built.source).as_posix() for path in built.source.rglob("*") if path.is_file()}
    wanted = {name for name in wanted if ".egg-info/" not in name}
    with tarfile.open(built.sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted <= found
    assert {*SHIPPED, "docs/index.md", "tests/conftest.py", "benchmarks/results/heads.json"} <= found
    assert built.sdist.stat().st_size < 5_000_000


# ---------------------------------------------------------------------- what it says of itself


@pytest.fixture(scope="session")
def metadata(built: Built) -> importlib.metadata.PackageMetadata:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        (place,) = (name for name in {Path(name).parent})
        archive.extract(name, built.source.parent)
    return importlib.metadata.PathDistribution(built.source.parent / place).metadata


def extras_of(metadata: importlib.metadata.PackageMetadata) -> dict[str, list[Requirement]]:
    """Extra -> what it asks for, other extras of this package resolved."""
    every = [Requirement(text) for text in metadata.get_all("Requires-Dist") or ()]
    plain = [one for one in every if one.marker is None]

    def of(extra: str) -> list[Requirement]:
        asked = [one for one in every if one not in plain and one.marker.evaluate({"extra": extra})]  # type: ignore[union-attr]
        deeper = [more for one in asked if one.name == "rootspace" for name in one.extras for more in of(name)]
        return [one for one in asked if one.name != "rootspace"] + deeper

    return {extra: of(extra) for extra in metadata.get_all("Provides-Extra") or ()}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def with_theirs(names: list[str]) -> set[str]:
    """Distributions and those that they ask for, as far as they are installed here."""
    waiting, found = [*names], set()
    while waiting:
        name = waiting.pop()
        if normal(name) in found:
            continue
        found.add(normal(name))
        try:
            asked = [Requirement(text) for text in importlib.metadata.requires(name) or ()]
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def required() -> set[tuple[str, str]]:
    """(module's first name, extra) of every `require("module", extra="x")` in the source."""
    found = set()
    for path in (ROOT / "src" / "rootspace").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                (extra,) = (word.value.value for word in node.keywords if isinstance(word.value, ast.Constant))
                module = node.args[0]
                if isinstance(module, ast.Constant):
                    found.add((str(module.value).partition(".")[0], str(extra)))
    return found


def test_an_extra_that_an_error_names_brings_the_module(metadata: importlib.metadata.PackageMetadata) -> None:
    extras, providers = extras_of(metadata), importlib.metadata.packages_distributions()
    named = required()
    assert {"train", "glyphs", "report", "data", "hf", "timm", "index", "lancedb", "export"} <= {
        one for _, one in named
    }
    for module, extra in sorted(named):
        brought = with_theirs([one.name for one in extras[extra]])
        assert module not in providers or {normal(name) for name in providers[module]} & brought, (module, extra)


def test_constraints_hold_what_the_extras_ask_for(metadata: importlib.metadata.PackageMetadata) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(one.name): one for one in map(Requirement, (line for line in lines if line and line[0] != "#"))}
    core = [Requirement(text) for text in metadata.get_all("Requires-Dist") or () if ";" not in text]
    for extra, asked in {"": core, **extras_of(metadata)}.items():
        for one in asked:
            assert normal(one.name) in pinned, f"{one} of {extra}: not in constraints.txt"
            (pin,) = pinned[normal(one.name)].specifier
            assert one.specifier.contains(pin.version), f"{one} of {extra}: constraints.txt has {pin}"


def test_all_is_enough_for_the_demonstration(metadata: importlib.metadata.PackageMetadata) -> None:
    extras = {name: {normal(one.name) for one in asked} for name, asked in extras_of(metadata).items()}
    for part in ("train", "glyphs", "fonts", "report", "data", "timm", "hf", "index", "export"):
        assert extras[part] <= extras["all"]
    row = re.search(r"^\| `all` \| (.+) \|$", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    told = {normal(name) for part in re.findall(r"`(\w+)`", row[1]) for name in extras[part]}
    assert told == extras["all"]


def test_authors_are_those_of_the_citation(metadata: importlib.metadata.PackageMetadata) -> None:
    assert f"  - name: {metadata['Author']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


# ---------------------------------------------------------------------- with the declared dependencies alone


def test_the_command_runs(clean: Path, tmp_path: Path) -> None:
    assert rootspace.__version__ in run(clean / "rootspace", "--version", cwd=tmp_path).stdout
    assert '"V22:10"' in run(clean / "rootspace", "plan", "--classes", 1000, "--json", cwd=tmp_path).stdout
    assert "607,620" in run(clean / "rootspace", "info", "V22:41", cwd=tmp_path).stdout
    assert "graded" in run(clean / "rootspace", "systems", cwd=tmp_path).stdout


def test_plan_prints_a_table(clean: Path, tmp_path: Path) -> None:
    assert "V22:10" in run(clean / "rootspace", "plan", "--classes", 1000, cwd=tmp_path).stdout


def test_the_readme_runs(clean: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    shown = run(clean / "python", "-m", "doctest", "-v", "README.md", cwd=tmp_path).stdout
    assert int(re.search(r"(\d+) passed", shown)[1]) > 5  # type: ignore[index]


def test_every_module_can_be_imported(clean: Path, tmp_path: Path) -> None:
    script = """
import importlib, pkgutil, sys, rootspace
names = [module.name for module in pkgutil.walk_packages(rootspace.__path__, "rootspace.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
assert "PIL" not in sys.modules and "accelerate" not in sys.modules
"""
    assert int(run(clean / "python", "-W", "error", "-c", script, cwd=tmp_path).stdout) > 80


def test_what_is_missing_is_named_with_its_extra(clean: Path, tmp_path: Path) -> None:
    """A model is made, saved, loaded and exported by the core; images, training and ONNX need more, and say what."""
    script = """
import numpy as np, torch, rootspace
from rootspace.assign import shuffled
from rootspace.data import Preprocessing
from rootspace.models import Embedder, Recogniser, SmallConv
from rootspace.systems import V
classes = shuffled(V(6, 1, 1), 12)
model = Recogniser(Embedder(SmallConv(width=4), 6), classes, list("abcdefghijkl"), Preprocessing(16, 1, "ink"))
model = rootspace.load(model.save("model"))
print(len(model.predict(np.zeros((3, 16, 16, 1), np.uint8))))
from rootspace.export import to_torch
print(to_torch(model, "m.pt2")[0])
np.savez("some.npz", images=np.random.default_rng(0).integers(0, 255, (40, 16, 16), dtype=np.uint8),
         labels=np.arange(40) % 4)
"""
    assert run(clean / "python", "-c", script, cwd=tmp_path).stdout.split() == ["3", "m.pt2"]
    (tmp_path / "a.png").write_bytes(b"")
    for command, extra in {
        ("predict", "model", "a.png"): "train",
        ("train", "some.npz", "--output", "out"): "(train|report)",
        ("export", "model", "--output", "m.onnx"): "export",
    }.items():
        done = run(clean / "rootspace", *command, cwd=tmp_path, expect=2)
        assert re.search(rf"pip install 'rootspace\[{extra}\]'", done.stderr)
        assert len([line for line in done.stderr.splitlines() if not line.startswith("warning: ")]) == 1
    assert not (tmp_path / "m.onnx").exists()
