"""Models on the Hugging Face hub: fetched into its cache and verified like any folder, and pushed to it.

Conventions (names, arguments, what a folder holds) are those of huggingface_hub's `PyTorchModelHubMixin`. It is not
inherited from: that would import huggingface_hub with this package, it loads a pickle where a repository has no
safetensors file, and it verifies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rootspace.data.texts import TOKENIZER
from rootspace.errors import InputError, MissingExtraError, require
from rootspace.models import folder
from rootspace.models.card import CARD
from rootspace.models.recogniser import Recogniser

MESSAGE = "Push model using huggingface_hub."  # the mixin's
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def load(
    source: str | Path,
    backbone: nn.Module | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Recogniser:
    """The model in a folder or on the hub ("user/name"), in evaluation mode, verified as `folder.load` does.

    backbone: needed where the model was trained with one of its own. options: for the hub, see `located`.
    """
    path = located(source, **options)
    try:
        return folder.load(path, backbone, device)
    except InputError as error:
        # the cache's path says nothing to the user; a folder of theirs is named as it is
        shown = str(error) if path == Path(source) else str(error).replace(str(path), str(source))
        raise type(error)(shown) from None


def located(
    source: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """The model's folder: `source` itself, or the repository of that name, downloaded into the hub's cache.

    A repository is meant where there is no such folder and the text looks like one: "user/name", and no folder
    "user" here, in which "name" would only be misspelt. revision: a branch, tag or commit. The other options are
    `huggingface_hub.snapshot_download`'s; for a folder none of them says anything. A repository that is not there, or a
    hub that cannot be reached, is an `InputError` of one line.
    """
    path = Path(source)
    name = path.as_posix()
    if path.exists() or not _REPO_ID.fullmatch(name) or path.parent.is_dir():
        return path
    try:
        hub = require("huggingface_hub", extra="hf")
    except MissingExtraError as error:
        raise MissingExtraError(f"{name}: no such folder; to look for it on the Hugging Face hub, {error}") from None
    with _explained(name, revision, f"{name}: no such folder, and "):
        found = hub.snapshot_download(
            name,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            token=token,
            local_files_only=local_files_only,
            allow_patterns=[folder.CONFIG, folder.WEIGHTS, TOKENIZER, CARD],
        )
    return Path(found)


def push(
    path: str | Path,
    repo_id: str,
    *,
    commit_message: str = MESSAGE,
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
    allow_patterns: list[str] | str | None = None,
    ignore_patterns: list[str] | str | None = None,
    delete_patterns: list[str] | str | None = None,
) -> str:
    """Upload a model folder, verified first, in one commit, and return the commit's address.

    Repository and branch are made where they are not there. A folder without a README.md gets a model card before, and
    one that is as it was generated names the repository from then on, where it says how to load the model.
    The options are those of `ModelHubMixin.push_to_hub`. What the hub refuses is an `InputError` of one line.
    """
    path = Path(path)
    folder.verified(path)
    hub = require("huggingface_hub", extra="hf")
    with _explained(repo_id, branch, f"{repo_id}: cannot be pushed to, "):
        api = hub.HfApi(token=token)
        repo_id = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
    folder.address_card(path, repo_id)
    with _explained(repo_id, branch, f"{repo_id}: cannot be pushed to, "):
        if branch is not None and not create_pr:
            api.create_branch(repo_id=repo_id, branch=branch, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type="model",
            folder_path=path,
            commit_message=commit_message,
            revision=branch,
            create_pr=create_pr,
            allow_patterns=allow_patterns,
            ignore_patterns=ignore_patterns,
            delete_patterns=delete_patterns,
        )
    return str(commit.commit_url)


@contextmanager
def _explained(repo_id: str, revision: str | None, prefix: str) -> Iterator[None]:
    """What goes wrong between here and the hub as an `InputError` of one line."""
    errors = require("huggingface_hub.errors", extra="hf")
    try:
        yield
    except (errors.HTTPError, OSError, ValueError) as error:
        if isinstance(error, errors.GatedRepoError):
            why = "the hub gives it only to users who were granted access: ask for it there, and log in (hf auth login)"
        elif isinstance(error, errors.RepositoryNotFoundError):
            why = "the hub has no such repository, or not for you: check the name, or log in (hf auth login)"
        elif isinstance(error, errors.RevisionNotFoundError):
            why = f"the repository has no revision {revision!r}"
        elif isinstance(error, errors.LocalEntryNotFoundError):
            why = "the hub cannot be reached; the cache does not hold it either"
        else:
            why = f"the hub does not take the request ({' '.join(str(error).split())[:200] or type(error).__name__})"
        raise InputError(f"{prefix}{why}") from None
