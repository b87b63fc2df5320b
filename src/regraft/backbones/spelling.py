"""What a network computes apart from its weights, spelled as plain data that has a digest.

The same weights with another activation, stride or `eps` are another network, and what it
computed must not be taken for this one's. So a network is spelled: the nodes of its graph in eval
mode, and per leaf module its class, its settings and, where the class is not PyTorch's, its code.

The spelling has no memory address, no module's path on disk and no version in it: it is equal for
two constructions of one network, in two processes, and after a comment or a docstring changed. It
may differ where the numbers do not (another rate of a `DropPath`, a renamed variable): then they
are computed again. What it does not follow: functions reached as `module.function` from within
code that cannot be traced.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

from regraft.backbones.trace import Trace
from regraft.backbones.weights import bytes_of
from regraft.files import digest, digest_of

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
CHANGES_NO_VALUE = {"inplace"}
#: Told by name: their code changes with their version, what it means does not.
LIBRARIES = sys.stdlib_module_names | {"torch", "numpy"}
NOT_RUN = {"__init__", "__repr__", "__annotate__", "__annotate_func__", "extra_repr"}
SCALARS = (type(None), bool, int, float, complex, str, bytes, type(...))
NAMED = (torch.dtype, torch.device, torch.layout, torch.memory_format, range)
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
MANGLED = re.compile(r"___torch_mangle_\d+\.")


def digest_of_graph(model: nn.Module, found: Trace, start: int, end: int) -> str:
    """The digest of the nodes `start` to `end` (not included) of a graph of `model`."""
    speller = _Speller({node: i for i, node in enumerate(found.nodes)})
    return digest_of([_node(speller, model, found, node) for node in found.nodes[start:end]])


def digest_of_module(module: nn.Module) -> str:
    """The digest of a module that was not traced: settings and code, with all that is in it."""
    return digest_of(_Speller().value(module))


def digest_of_network(stages: Sequence[tuple[str, str, int]]) -> str:
    """One digest from that of each stage, its layout and its prefix tokens: how it is pooled."""
    return digest_of([list(stage) for stage in stages])


def _node(speller: _Speller, model: nn.Module, found: Trace, node: fx.Node) -> Any:
    target: Any = node.target
    spelled: Any = target if isinstance(target, str) else speller.value(target)
    if node.op == "get_attr" and target in found.constants:
        spelled = speller.value(found.constants[target])
    elif node.op == "placeholder":
        spelled = ""
    elif node.op == "call_module" or (node.op == "get_attr" and not _is_weight(model, target)):
        spelled = [target, speller.value(_at(model, target))]
    return [node.op, spelled, speller.value(node.args), speller.value(node.kwargs)]


def _at(model: nn.Module, path: str) -> Any:
    return functools.reduce(getattr, path.split(".") if path else [], model)


def _is_weight(model: nn.Module, path: str) -> bool:
    """Whether a tensor counts in the digest of the weights; its path is enough then."""
    parent, _, name = path.rpartition(".")
    holder = _at(model, parent)
    return isinstance(holder, nn.Module) and (name in holder._parameters or name in holder._buffers)


class _Speller:
    """Spells values. A module or function that was met before is spelled by its number."""

    def __init__(self, place: dict[fx.Node, int] | None = None) -> None:
        self._place = place or {}
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no identity is given away again
        self._within: list[int] = []

    def value(self, value: Any) -> Any:
        """Lists and texts that stand for `value`."""
        if isinstance(value, fx.Node):
            return ["node", self._place[value]]
        if isinstance(value, enum.Enum):
            return ["enum", type(value).__name__, value.name]
        if isinstance(value, SCALARS):
            return [type(value).__name__, repr(value)]
        if isinstance(value, NAMED):
            return ["named", str(value)]
        if isinstance(value, slice):
            return ["slice", *map(self.value, (value.start, value.stop, value.step))]
        if isinstance(value, torch.Tensor | np.ndarray | np.generic):
            return _array(value)
        if isinstance(value, tuple | list | dict | set | frozenset):
            return self._many(value)
        if isinstance(value, type | ModuleType):
            return ["type", _kind(value) if isinstance(value, type) else value.__name__]
        return self._again(value) or self._new(value)

    def _again(self, value: Any) -> list[Any] | None:
        """The number of what was met before; for what was not, None, and it is given one."""
        if id(value) in self._met:
            return ["again", self._met[id(value)]]
        self._met[id(value)] = len(self._met)
        self._kept.append(value)
        return None

    def _many(self, value: Any) -> Any:
        """Members in order, of a set or by key in their own: hashes differ from run to run."""
        if id(value) in self._within:
            return ["within", len(self._within) - self._within.index(id(value))]
        self._within.append(id(value))
        try:
            if isinstance(value, tuple | list):
                return ["list", *map(self.value, value)]
            plain = all(isinstance(key, SCALARS) for key in value)
            if isinstance(value, dict):
                keys = sorted(value, key=repr) if plain else list(value)
                return ["dict", [[self.value(key), self.value(value[key])] for key in keys]]
            return ["set", sorted(map(repr, value)) if plain else len(value)]
        finally:
            self._within.pop()

    def _new(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, functools.partial):
            return ["partial", *map(self.value, (value.func, value.args, value.keywords))]
        if isinstance(value, MethodType):
            return ["method", self.value(value.__func__), self.value(value.__self__)]
        if isinstance(value, FunctionType):
            return self._function(value)
        if callable(getattr(value, "__wrapped__", None)):
            return ["wrapped", self.value(value.__wrapped__)]
        if isinstance(value, torch.jit.ScriptFunction):
            return ["script", MANGLED.sub("", str(value.code))]
        if _of_library(type(value)):
            return ["name", _name(value)] if callable(value) else ["of", _kind(type(value))]
        if callable(value) or dataclasses.is_dataclass(value):
            return ["object", self._class(type(value)), self._fields(value, set())]
        return ["of", _kind(type(value))]

    def _module(self, module: nn.Module) -> Any:
        kind = type(module)
        out = set(OF_EVERY_MODULE | CHANGES_NO_VALUE)
        if isinstance(module, _DropoutNd):
            out.add("p")  # it passes everything in eval mode
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        spelled = [
            self._class(kind),
            self._fields(module, out),
            [[name, self.value(child)] for name, child in module.named_children()],
            [self.value(hook) for hook in hooks],
        ]
        if isinstance(module, torch.jit.ScriptModule | fx.GraphModule):
            return [*spelled, MANGLED.sub("", str(module.code))]
        return [*spelled, "" if _of_library(kind) else ADDRESS.sub("", module.extra_repr())]

    def _fields(self, item: Any, out: set[str]) -> Any:
        """The attributes, without those of a library's class that are its own business."""
        own = _of_library(type(item))
        held = vars(item) if hasattr(item, "__dict__") else {}
        names = [k for k in sorted(held) if k not in out and not (own and k.startswith("_"))]
        return [[name, self.value(held[name])] for name in names]

    def _class(self, kind: type) -> Any:
        """The name of a library's class; the functions and constants of any other."""
        if _of_library(kind):
            return _kind(kind)
        again = self._again(kind)
        return again or [_kind(kind), [self._members(base) for base in kind.__mro__]]

    def _members(self, base: type) -> Any:
        if _of_library(base):
            return _kind(base)
        found = []
        for name, member in sorted(vars(base).items()):
            codes = [getattr(member, part, None) for part in ("fget", "__func__", "func")]
            function = next((code for code in codes if isinstance(code, FunctionType)), member)
            hidden = name.startswith("__") and not isinstance(function, FunctionType)
            if name not in NOT_RUN and not hidden and _is_plain(function):
                found.append([name, self.value(function)])
        return found

    def _function(self, function: FunctionType) -> Any:
        """A library's by name; any other by its code and by all that the code refers to."""
        if _of_library(function):
            return ["name", _name(function)]
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append(cell.cell_contents)
            except ValueError:  # not yet filled
                cells.append(None)
        names = sorted({name for code in _codes(function.__code__) for name in code.co_names})
        known = function.__globals__
        refers = [[n, self.value(known[n])] for n in names if n in known and _is_plain(known[n])]
        given = [function.__defaults__, function.__kwdefaults__, *cells]
        text = _source(function.__code__) or self._compiled(function.__code__)
        return ["function", text, self.value(given), refers]

    def _compiled(self, code: CodeType) -> Any:
        """For code without a source, such as that typed into an interpreter."""
        parts = [
            self._compiled(c) if isinstance(c, CodeType) else self.value(c) for c in code.co_consts
        ]
        return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), parts]


def _is_plain(value: Any) -> bool:
    """Whether a name's value is part of what code means, rather than a log, a cache, a class."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (*SCALARS, *NAMED, FunctionType, functools.partial, torch.Tensor))


def _array(value: Any) -> Any:
    """A tensor that is no parameter or buffer: those belong to the digest of the weights."""
    if isinstance(value, nn.Parameter):
        return ["parameter"]
    if isinstance(value, torch.Tensor):
        content = "" if value.is_meta else digest(bytes_of(value))
        return ["tensor", str(value.dtype), list(value.shape), content]
    array = np.ascontiguousarray(value)
    content = repr(array.tolist()) if array.dtype.hasobject else digest(array.tobytes())
    return ["array", str(array.dtype), list(array.shape), content]


def _of_library(item: Any) -> bool:
    """Whether a class or function is PyTorch's, NumPy's or Python's own."""
    module = getattr(item, "__module__", None) or "builtins"
    if module == "builtins":  # so it stands also in functions that `exec` made
        return not isinstance(item, FunctionType)
    return module.partition(".")[0] in LIBRARIES


def _kind(kind: type) -> str:
    """A class's name; with its module only for a library's: one's own may move."""
    return f"{kind.__module__}.{kind.__qualname__}" if _of_library(kind) else kind.__name__


def _name(item: Callable[..., Any]) -> str:
    name = getattr(item, "__qualname__", None) or getattr(item, "__name__", None)
    return f"{getattr(item, '__module__', None) or ''}.{name or _kind(type(item))}"


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@functools.lru_cache(maxsize=4096)
def _source(code: CodeType) -> str:
    """The source without comments, docstrings and layout; '' if there is none."""
    try:
        text = textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return ""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda in the middle of a statement
        return text
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and len(body) > 1 and _is_text(body[0]):
            del body[0]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)  # type: ignore[attr-defined]
