"""The documentation is true: its examples run, its links lead somewhere, its commands exist."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
import torch

from rootspace.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
FENCE = re.compile(r"^(```|~~~)")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def load(path):
    """A script of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "docs" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(page):
    return page.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def split(page):
    """The page's lines in turn: (line number from 1, language of the code block or None, line); no fences."""
    language = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            language = None if language is not None else line.strip("`~ ")
        else:
            yield number, language, line


# ---------------------------------------------------------------------- Python examples


@pytest.fixture
def one_thread():
    """The examples are tiny: a second thread only waits, and on a busy machine it waits long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@each_page
@pytest.mark.usefixtures("one_thread")
def test_examples_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    # outside of Python blocks there is nothing to run; a blank line also ends what is expected at a fence
    lines = page.read_text(encoding="utf-8").splitlines()
    code = [""] * len(lines)
    for number, language, line in split(page):
        if language == "python":
            code[number - 1] = line
    test = doctest.DocTestParser().get_doctest("\n".join(code) + "\n", {}, name_of(page), str(page), 0)
    report = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not report, "".join(report)


@each_page
def test_python_blocks_are_examples(page):
    """A block that does not begin with a prompt would be shown and never run."""
    previous = None
    for number, language, line in split(page):
        if language == "python" and previous != "python":
            assert line.startswith(">>> "), f"{name_of(page)}:{number}: begin with '>>> '"
        previous = language


# ---------------------------------------------------------------------- links


def anchors(page):
    """The anchors of a page's headings, made as GitHub makes them."""
    seen: dict[str, int] = {}
    for _, language, line in split(page):
        if language is None and (heading := re.match(r"#{1,6} +(.*)", line)):
            anchor = load("site/anchors.py").anchor(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]))
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            yield anchor if count == 0 else f"{anchor}-{count}"


def links(page):
    for number, language, line in split(page):
        if language is None:
            plain = re.sub(r"`[^`]*`", "", line)
            for target in re.findall(r"\]\(([^)\s]+)\)", plain):
                yield number, target


@each_page
def test_links_lead_somewhere(page):
    for number, target in links(page):
        where = f"{name_of(page)}:{number}: {target}"
        if re.match(r"[a-z]+:", target):
            assert target.startswith(("https://", "mailto:")), where
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), f"{where} leads out of the repository"
        assert file.exists(), f"{where} does not exist"
        if anchor:
            assert anchor in set(anchors(file)), f"{where}: no such heading; there are {sorted(anchors(file))}"


def test_anchors_are_those_of_github():
    anchor = load("site/anchors.py").anchor
    assert anchor("What 10⁹ classes cost, exactly") == "what-10-classes-cost-exactly"
    assert anchor("`k` nearest: snake_case & A – B ") == "k-nearest-snake_case--a--b"
    assert anchor("Größe, 字 and V₂") == "größe-字-and-v"


def test_every_page_is_listed_in_the_index():
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / target.partition("#")[0]).resolve() for _, target in links(index)}
    pages = {*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")} - {index}
    assert pages <= listed


# ---------------------------------------------------------------------- command lines


def commands(page):
    """(line number, arguments) of each `rootspace ...` in the shell blocks."""
    whole, start = "", 0
    for number, language, line in split(page):
        if language not in ("sh", "console"):
            continue
        start = start if whole else number
        whole += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        for part in re.split(r"\||&&|;", whole.removeprefix("$ ")):
            words = shlex.split(part, comments=True)
            if words and words[0] == "rootspace":
                yield start, words[1:]
        whole = ""


def mentions(page):
    """(line number, words) of each `rootspace ...` in the running text."""
    for number, language, line in split(page):
        if language is None:
            for code in re.findall(r"`(rootspace [^`]+)`", line):
                yield number, shlex.split(code)[1:]


def mistake(arguments):
    """What the program would find wrong with a command line, without running anything; None if it parses."""
    with click.Context(main, info_name="rootspace") as context:
        try:
            name, command, rest = main.resolve_command(context, list(arguments))
            command.make_context(name, rest, parent=context)
        except click.ClickException as error:
            return error.format_message()
        except click.exceptions.Exit:  # --help has been printed
            return None


def every(group):
    """The commands of a group and of the groups in it."""
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from every(command)


@each_page
def test_command_lines_parse(page):
    for number, arguments in commands(page):
        wrong = mistake(arguments)
        assert wrong is None, f"{name_of(page)}:{number}: rootspace {' '.join(arguments)}: {wrong}"


@each_page
def test_commands_and_options_in_the_text_exist(page):
    known = {option for command in every(main) for p in command.params for option in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--version"}
    for number, words in mentions(page):
        assert words[0] in main.commands or words[0].startswith("-"), f"{name_of(page)}:{number}: {words[0]}"
        if words[0] in main.commands:
            own = {o for p in main.commands[words[0]].params for o in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}
            for word in words[1:]:
                assert not word.startswith("--") or word in own, f"{name_of(page)}:{number}: {word}"
    for number, language, line in split(page):
        if language is None:
            for option in re.findall(r"`(--[a-z][a-z-]*)", line):
                assert option in known, f"{name_of(page)}:{number}: no command has {option}"


def test_a_wrong_command_line_is_noticed():
    for wrong in (["train", "photos"], ["plan", "--clases", "3"], ["demo", "--classes", "many"], ["learn"]):
        assert mistake(wrong) is not None
    assert mistake(["plan", "--classes", "3"]) is None
    assert mistake(["plan", "--help"]) is None


# ---------------------------------------------------------------------- figures


def test_figures_are_what_the_script_draws():
    folder = ROOT / "docs" / "figures"
    draw = load("figures/draw.py")
    assert {path.stem for path in folder.glob("*.svg")} == set(draw.FIGURES)
    for name, figure in draw.FIGURES.items():
        # coordinates may differ in the last digit from machine to machine
        drawn, kept = figure(), (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert re.sub(r"-?\d+\.\d+", "#", drawn) == re.sub(r"-?\d+\.\d+", "#", kept), f"run {folder / 'draw.py'}"
        numbers = [[float(n) for n in re.findall(r"-?\d+\.\d+", text)] for text in (drawn, kept)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.2)
