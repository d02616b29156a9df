"""The command that puts a model folder on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click

from rootspace.cli.options import MODEL, Command, option


@click.command(
    cls=Command,
    short_help="Put a model on the Hugging Face hub.",
    examples=(
        "rootspace push runs/photos/model user/photos --private",
        "rootspace push runs/photos/model user/photos --revision v2",
        "rootspace predict user/photos picture.jpg",
    ),
)
@MODEL
@click.argument("repo_id")
@option("--private", is_flag=True, help="Make the repository private, where it is not there yet.")
@option("--revision", metavar="BRANCH", help="The branch to push to, made where there is none.  [default: main]")
def push(model: Path, repo_id: str, private: bool, revision: str | None) -> None:
    """Upload the folder MODEL, verified first, to the repository REPO_ID ("user/name") in one commit.

    Log in first (hf auth login). A folder without a README.md gets a model card; one that was generated gets the
    repository's name, and one of yours is uploaded as it is. Other commands then take REPO_ID wherever they take a
    MODEL.
    """
    from rootspace import models

    click.echo(models.push(model, repo_id, private=private or None, branch=revision))
