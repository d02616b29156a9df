"""Small real data, one trained run for all tests, and what every bad input must look like."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw

from rootspace.cli import main

SHAPES = ("круг", "квадрат", "крест", "three sides")
PER_CLASS = 12
SMALL = ("--size", "16", "--channels", "1", "--fit", "ink", "--width", "8", "--threads", "1")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOTSPACE_CACHE", str(tmp_path_factory.mktemp("cache")))
        threads = torch.get_num_threads()
        yield
        torch.set_num_threads(threads)


def draw(shape: str, random: np.random.Generator, side: int = 28) -> Image.Image:
    """One shape of random place, size and stroke, dark on light."""
    image = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(image)
    radius = int(random.integers(6, 11))
    x, y = (int(v) for v in random.integers(radius + 1, side - radius - 1, 2))
    box, width = (x - radius, y - radius, x + radius, y + radius), int(random.integers(1, 4))
    if shape == "круг":
        pen.ellipse(box, outline=0, width=width)
    elif shape == "квадрат":
        pen.rectangle(box, outline=0, width=width)
    elif shape == "крест":
        pen.line((x - radius, y, x + radius, y), fill=0, width=width)
        pen.line((x, y - radius, x, y + radius), fill=0, width=width)
    else:
        pen.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], outline=0, width=width)
    return image


def write_shapes(folder: Path, seed: int, per_class: int, shapes: tuple[str, ...] = SHAPES) -> Path:
    random = np.random.default_rng(seed)
    for shape in shapes:
        (folder / shape).mkdir(parents=True)
        for number in range(per_class):
            draw(shape, random).save(folder / shape / f"{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one folder of drawings a class."""
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", 0, PER_CLASS)


@pytest.fixture(scope="session")
def other_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data") / "others", 1, 4)


def write_arrays(path: Path, labels: np.ndarray, **more: np.ndarray) -> Path:
    """An .npz of one fixed pattern a class with noise."""
    random = np.random.default_rng(5)
    patterns = random.integers(0, 200, (int(np.unique(labels).size), 12, 12))
    _, numbers = np.unique(labels, return_inverse=True)
    images = (patterns[numbers] + random.integers(0, 50, (len(labels), 12, 12))).astype(np.uint8)
    np.savez(path, images=images, labels=labels, **more)
    return path


Run = Callable[..., Result]


def invoke(*args: object, text: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], input=text, prog_name="rootspace")


@pytest.fixture
def works() -> Run:
    """Runs a command that must succeed."""

    def run(*args: object, text: str | None = None) -> Result:
        result = invoke(*args, text=text)
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture
def fails() -> Callable[..., str]:
    """Runs a command that must end with exit code 2 and one line on stderr; gives that line without "Error: "."""

    def run(*args: object, text: str | None = None, code: int = 2) -> str:
        result = invoke(*args, text=text)
        assert result.exit_code == code, (result.output, result.exception)
        assert isinstance(result.exception, SystemExit)
        lines = result.stderr.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("Error: ")
        # a run that ends while it trains has shown its settings
        assert result.stdout == "" or (args[0] == "train" and result.stdout.startswith("data:\n"))
        return lines[0].removeprefix("Error: ")

    return run


@pytest.fixture(scope="session")
def trained(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished run with a baseline, and what it printed."""
    output = tmp_path_factory.mktemp("runs") / "shapes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rootspace.experiment.training.CALIBRATION_LEAST", 1)  # so few images, and yet a threshold
        result = invoke("train", shapes, "--output", output, *SMALL, "--epochs", 12, "--batch-size", 8, "--baseline")
    assert result.exit_code == 0, (result.output, result.exception)
    return output, result


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Result]) -> Path:
    return trained[0] / "model"


@pytest.fixture
def own_model(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
