"""Every error that regraft raises on purpose.

RegraftError                    the one to catch; its text is one sentence that says what to do
├── DataError                   a folder, table or file that cannot be used
│   └── BadFile                 one file that cannot be read; collected, never fatal by itself
├── BackboneError               a backbone name, weight file or network that cannot be used
│   └── CutError                a stage or cut that does not exist
├── EngineError                 no engine can run these stages here
├── HeadError                   a head or its setting does not fit the data
├── BundleError                 a bundle or run folder that must not be trusted or does not load
├── CacheError                  the cache folder cannot be used
├── OptionError                 an argument with a value it cannot have
├── TrainingError               training came to nothing, or cannot go on where it stopped
├── BadInput                    any of these where scikit-learn expects a ValueError: it is one too
└── MissingExtra                an optional package is not installed
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class RegraftError(Exception):
    """Anything that the user can mend; the command line prints it and exits with 2."""


class DataError(RegraftError):
    """A folder, table or file that cannot be used."""


class BadFile(DataError):
    """One file that cannot be read; `str()` is the reason without the file's name."""


class BackboneError(RegraftError):
    """A backbone name, weight file or network that cannot be used."""


class CutError(BackboneError):
    """A stage or cut that does not exist."""


class EngineError(RegraftError):
    """No engine can run these stages here."""


class HeadError(RegraftError):
    """A head or its setting does not fit the data."""


class BundleError(RegraftError):
    """A bundle or run folder that must not be trusted or does not load."""


class CacheError(RegraftError):
    """The cache folder cannot be used."""


class OptionError(RegraftError):
    """An argument with a value that it cannot have."""


class TrainingError(RegraftError):
    """Training came to nothing, or cannot go on where it stopped."""


class BadInput(RegraftError, ValueError):
    """Any of these where scikit-learn expects a ValueError: it is one too."""


class MissingExtra(RegraftError):
    """An optional package is not installed."""


def did_you_mean(word: str, known: Iterable[str], most: int = 3) -> str:
    """` Did you mean 'a' or 'b'?` with the nearest of `known`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=most, cutoff=0.6)
    if not close:
        return ""
    return " Did you mean " + " or ".join(f"'{name}'" for name in close) + "?"


def need_extra(package: str, extra: str, user: str) -> ModuleType:
    """Import `package`, or say which extra of regraft brings it to `user`.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as problem:
        raise MissingExtra(
            f"{user} needs the package {package}: pip install 'regraft[{extra}]'."
        ) from problem
