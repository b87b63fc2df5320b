"""Weights from the Hugging Face hub, with timm's own loading.

The file is fetched first, by the hub's own client (its cache, its offline switch HF_HUB_OFFLINE,
its token), and its checksum compared with the one that the hub states; then timm loads that file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regraft.backbones.request import Loaded, Request
from regraft.errors import BackboneError

PREFIX = ("hf-hub:", "hf_hub:")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Fetched:
    """A file of a repository: its path in the hub's cache, and the commit that it is from."""

    path: Path
    commit: str


def accepts(request: Request) -> bool:
    return request.weights is None


def holds(request: Request, mark: str) -> bool:
    """Whether the hub's cache still names the commit that the record was made from."""
    if not mark.startswith("hub:"):
        return False
    from huggingface_hub import constants

    repository, revision, commit, name = mark.removeprefix("hub:").split("|")
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    if not (folder / "snapshots" / commit / name).is_file():
        return False
    reference = folder / "refs" / revision
    return revision == commit or (reference.is_file() and reference.read_text() == commit)


def load(request: Request) -> Loaded:
    """The network with the hub's weights.

    Raises:
        BackboneError: no such name or revision, gated, not reachable, damaged; says what to do.
    """
    name, revision = _named(request)
    if name.startswith(PREFIX):
        repository = name.partition(":")[2]
        return _from_repository(request, name, repository, {}, revision)
    return _by_name(request, name, revision)


def _named(request: Request) -> tuple[str, str]:
    """The name without '@revision', and the revision asked for ('main' by default)."""
    name, _, tail = request.name.partition("@")
    if tail and request.revision not in (None, tail):
        raise BackboneError(
            f"the revision is given twice, '{tail}' in the name and '{request.revision}' beside "
            "it: leave one out."
        )
    return name, request.revision or tail or "main"


def _by_name(request: Request, name: str, revision: str) -> Loaded:
    import timm

    from regraft.backbones.build import create
    from regraft.backbones.names import full_name

    name = full_name(name)
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise BackboneError(
            f"'{name}' has no published weights: use weights='random', or a name from "
            "`regraft backbones`."
        )
    if config.hf_hub_id and config.custom_load != "hf":
        return _from_repository(request, name, config.hf_hub_id, config.to_dict(), revision)
    if revision != "main":
        raise BackboneError(f"the weights of '{name}' are no hub repository: leave out revision.")
    with _in_one_sentence(name, "", config.url or config.hf_hub_id or name):
        return create(name, request.size, options={"pretrained": True})


def _from_repository(
    request: Request, name: str, repository: str, config: dict[str, Any], revision: str
) -> Loaded:
    from regraft.backbones.build import create

    repository, _, pinned = repository.partition("@")
    revision = pinned or revision
    named = config.get("hf_hub_filename")
    got = fetch(repository, (named,) if named else WEIGHTS, revision)
    overlay = {"file": str(got.path), "source": "", "custom_load": False}
    options = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    if name.startswith(PREFIX):
        with _in_one_sentence(repository, revision, repository):
            pinned_name = f"hf-hub:{repository}@{got.commit}"
            made = create(pinned_name, request.size, options=options)
        made.name = f"hf-hub:{repository}"
    else:
        made = create(name, request.size, options=options)
    made.revision = got.commit
    made.mark = f"hub:{repository}|{revision}|{got.commit}|{got.path.name}"
    return made


def fetch(repository: str, names: tuple[str, ...], revision: str) -> Fetched:
    """The first of some files that the repository has, whole and as the hub states it.

    The hub is asked only for what its client's cache does not hold: a branch that moved on there
    is followed once its old commit is gone from here, or when the new commit is named.

    Raises:
        BackboneError: it cannot be had, or it is not what the hub says it is.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        here = _here(repository, name, revision)
        if here is not None:
            verify(here, repository)
            return Fetched(here, _commit(here, name))
    missing: Exception | None = None
    for name in names:
        known_only = isinstance(missing, LocalEntryNotFoundError)  # no connection: ask once
        with _in_one_sentence(repository, revision, f"{repository} ({name})"):
            try:
                path = Path(
                    hf_hub_download(
                        repository, name, revision=revision, local_files_only=known_only
                    )
                )
            except EntryNotFoundError as problem:
                missing = problem
                continue
        verify(path, repository)
        return Fetched(path, _commit(path, name))
    with _in_one_sentence(repository, revision, " or ".join(names)):
        raise missing or FileNotFoundError(names)
    raise RuntimeError("unreachable")


def _here(repository: str, name: str, revision: str) -> Path | None:
    """The file in the cache of the hub's client, None if it is not there; nobody is asked."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _in_one_sentence(repository, revision, f"{repository} ({name})"):
        try:
            return Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
        except LocalEntryNotFoundError:
            return None


def _commit(path: Path, name: str) -> str:
    folder = path.parents[len(Path(name).parts) - 1].name
    return folder if COMMIT.fullmatch(folder) else ""


def verify(path: Path, repository: str) -> None:
    """Compare a cached file with its checksum; the hub's cache names files by it.

    Large files are named by their sha256, small ones by git's sha1 of the blob. A file that is
    wrong is taken out of the cache.

    Raises:
        BackboneError: the content is not what its name says.
    """
    blob = path.resolve()
    stated = blob.name
    if re.fullmatch(r"[0-9a-f]{64}", stated):
        hasher = hashlib.sha256()
    elif COMMIT.fullmatch(stated):
        hasher = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return  # a server that states no checksum
    with blob.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    if hasher.hexdigest() != stated:
        blob.unlink()
        path.unlink(missing_ok=True)
        raise BackboneError(
            f"the file {path.name} of '{repository}' has the checksum {hasher.hexdigest()[:8]}… "
            f"and must have {stated[:8]}…: it was damaged on the way and has been removed; try "
            "again."
        )


@contextmanager
def _in_one_sentence(repository: str, revision: str, what: str) -> Iterator[None]:
    """Say what the hub's client means, and what to do."""
    from huggingface_hub import errors

    try:
        yield
    except BackboneError:
        raise
    except errors.GatedRepoError as problem:
        raise BackboneError(
            f"the weights of '{repository}' are gated: accept their terms on the hub's page, then "
            "log in with `hf auth login` or set HF_TOKEN."
        ) from problem
    except errors.RevisionNotFoundError as problem:
        raise BackboneError(
            f"'{repository}' has no revision '{revision}': leave revision out for the newest."
        ) from problem
    except errors.RepositoryNotFoundError as problem:
        raise BackboneError(
            f"there is no repository '{repository}' on the hub, or it is private: check the name, "
            "or log in with `hf auth login`."
        ) from problem
    except errors.LocalEntryNotFoundError as problem:
        raise BackboneError(_unreachable(repository)) from problem
    except errors.EntryNotFoundError as problem:
        raise BackboneError(
            f"'{repository}' has no file {what}: name a repository of timm weights, or give a "
            "local file as weights."
        ) from problem
    except errors.HfHubHTTPError as problem:
        status = getattr(problem.response, "status_code", 0)
        if status not in (401, 403):
            raise BackboneError(_failed(repository, problem)) from problem
        raise BackboneError(
            f"the hub lets nobody in to '{repository}' without a login (status {status}): log in "
            "with `hf auth login` or set HF_TOKEN."
        ) from problem
    except Exception as problem:
        raise BackboneError(_failed(repository, problem)) from problem


def _failed(repository: str, problem: Exception) -> str:
    first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
    return (
        f"the weights of '{repository}' could not be loaded ({first.rstrip('.')}): try again, or "
        "give a local file as weights."
    )


def _unreachable(repository: str) -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return (
            f"the weights of '{repository}' are not in the cache and HF_HUB_OFFLINE is set: unset "
            "it, give a local file as weights, or use the backbone that comes with regraft."
        )
    return (
        f"the weights of '{repository}' are not in the cache and {constants.ENDPOINT} cannot be "
        "reached: check the connection, give a local file as weights, or use the backbone that "
        "comes with regraft."
    )
