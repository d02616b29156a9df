"""What the documentation site needs beyond its pages: mkdocs calls these functions (see mkdocs.yml).

The pages are written for reading on a repository's own site as well, so the differences are bridged here: links to
files outside docs/ (which then become part of the site), the notebook as a page, and the anchors of headings. What the
commands say for --help is a page that only the site has.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import commands
from anchors import anchor
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = "repository"  # the folder of the site for files from outside docs/
COMMANDS = "cli.md"
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")


def on_config(config: Any) -> Any:
    """Anchors as elsewhere, and a navigation without what is not there (mkdocs warns of pages that it lacks)."""
    config.mdx_configs["toc"]["slugify"] = lambda heading, _: anchor(heading)
    config.nav = _present(config.nav)
    return config


def _present(entries: list[Any]) -> list[Any]:
    found = []
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            found += [{title: kept}] if (kept := _present(target)) else []
        elif target == COMMANDS or _source(target).exists():
            found.append(entry)
    return found


def _source(uri: str) -> Path:
    """The file that a page of the site is made from."""
    if uri.startswith(f"{OUTSIDE}/"):
        return ROOT / uri.removeprefix(f"{OUTSIDE}/")
    notebook = (DOCS / uri).with_suffix(".ipynb")
    return notebook if notebook.exists() else DOCS / uri


def on_files(files: Files, config: Any) -> Files:
    """Add the notebooks and the commands as pages, and every file outside docs/ that a page links to."""
    for notebook in DOCS.glob("*.ipynb"):
        files.append(File.generated(config, f"{notebook.stem}.md", content=_page_of(notebook)))
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for match in LINK.finditer(_source(page).read_text(encoding="utf-8")):
            uri = _uri(page, match[1])
            if uri.startswith(f"{OUTSIDE}/") and _source(uri).is_file() and files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(_source(uri))))
                waiting += [uri] if uri.endswith(".md") else []
    files.append(File.generated(config, COMMANDS, content=commands.page()))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Turn links to where files are in the repository into links to where they are on the site."""

    def on_the_site(match: re.Match[str]) -> str:
        uri = _uri(page.file.src_uri, match[1])
        return posixpath.relpath(uri, posixpath.dirname(page.file.src_uri)) + (match[2] or "")

    return LINK.sub(on_the_site, markdown).replace("```python\n>>>", "```pycon\n>>>")


def _uri(page: str, target: str) -> str:
    """Where on the site the target of a page's link is."""
    path = (_source(page).parent / target).resolve()
    if path.is_relative_to(DOCS):
        # links from a page lead to the notebook's page; only that page itself leads to the notebook
        inside = path.relative_to(DOCS).as_posix()
        return f"{path.stem}.md" if path.suffix == ".ipynb" and Path(page).stem != path.stem else inside
    return f"{OUTSIDE}/{path.relative_to(ROOT).as_posix()}" if path.is_relative_to(ROOT) else target


def _page_of(notebook: Path) -> str:
    """A notebook as Markdown: its cells, and what they printed."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        printed = "".join("".join(output.get("text", "")) for output in cell.get("outputs", ()))
        parts += [f"```text\n{printed.rstrip()}\n```"] if printed else []
    return "\n\n".join(parts) + "\n"
