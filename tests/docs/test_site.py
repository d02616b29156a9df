"""The documentation as a site: built without a warning, every page in it, links that work there too."""

from __future__ import annotations

import html
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
pytest.importorskip("material")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an announcement of the theme
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return folder


def text_of(page: Path) -> str:
    article = re.search(r"<article.*?</article>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert article is not None
    return html.unescape(re.sub(r"<[^>]+>", "", article[0]))


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        assert (site / (name if name.name != "index" else name.parent) / "index.html").is_file(), name
    assert not list(site.rglob("hooks*"))


def test_links_to_files_outside_the_folder_work_too(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="repository/CONTRIBUTING/"' in index
    contributing = (site / "repository" / "CONTRIBUTING" / "index.html").read_text(encoding="utf-8")
    assert 'href="../../concepts/#words"' in contributing
    assert 'href="../LICENSE"' in contributing
    assert (site / "repository" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_every_link_between_pages_leads_to_a_file(site: Path) -> None:
    for page in site.rglob("index.html"):
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            outside = re.match("[a-z]+:", target)
            assert outside or (page.parent / target).resolve().exists(), f"{page.relative_to(site)}: {target}"


def parts() -> dict[str, str]:
    """The public packages that the navigation lists: name -> page."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("  - API reference:\n")[2]
    return dict(re.findall(r"^ {6}- (\w+): (api/\w+)\.md$", navigation, re.MULTILINE))


def test_the_navigation_lists_every_page_of_the_reference() -> None:
    assert {f"{page}.md" for page in parts().values()} == {f"api/{page.name}" for page in ROOT.glob("docs/api/*.md")}


@pytest.mark.parametrize("part", parts())
def test_the_reference_has_what_the_parts_export(part: str, site: Path) -> None:
    package = importlib.import_module(f"rootspace.{part}")
    page = (site / parts()[part] / "index.html").read_text(encoding="utf-8")
    documented = [name for name in package.__all__ if callable(getattr(package, name))]
    assert len(documented) > 2
    missing = [name for name in documented if not re.search(rf'id="rootspace\.{part}[\w.]*\.{name}"', page)]
    assert missing == []


def test_the_reference_shows_docstrings_as_they_are_meant(site: Path) -> None:
    systems = (site / "api" / "systems" / "index.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in systems  # doctests are code, not quotations
    assert "V(41, 2, 2).size" in text_of(site / "api" / "systems" / "index.html")


def test_every_command_is_on_the_page_of_the_command_line(site: Path) -> None:
    from rootspace.cli import main

    text = text_of(site / "cli" / "index.html")
    for name, command in main.commands.items():
        for path in [name, *(f"{name} {inner}" for inner in getattr(command, "commands", ()))]:
            assert f"Usage: rootspace {path} " in text
        for option in (option for parameter in command.params for option in parameter.opts if option.startswith("--")):
            assert option in text
    assert "Examples:" in text


def test_the_notebook_is_a_page_with_what_it_printed(site: Path) -> None:
    text = text_of(site / "quickstart" / "index.html")
    assert "demo_glyphs" in text
    assert "parameters of the head: 0" in text
    assert (site / "quickstart.ipynb").is_file()
