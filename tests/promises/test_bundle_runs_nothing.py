"""Loading a bundle and predicting with it runs no code of the bundle: watched, and read."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import regraft
from regraft.bundle import BACKBONE, CARD, CHECKSUMS, CONFIG, HEAD, METRICS
from tests.promises.hostile import GOLDEN, INPUTS, KINDS, copy

FIXED = {BACKBONE, CARD, CHECKSUMS, CONFIG, HEAD, METRICS}
SOURCE = Path(regraft.__file__).parent

WATCH = """
import json, os, sys
import regraft
golden, inputs, folder, other_cache = sys.argv[1:]
regraft.load(golden).predict(inputs)  # imports all that is needed
os.environ["REGRAFT_CACHE"] = other_cache
seen, watching = [], True

def watch(event, arguments):
    if not watching:
        return
    if event in ("exec", "compile"):
        code = arguments[0] if event == "exec" else arguments[1]
        told = getattr(code, "co_filename", code)
    elif event == "import":
        told = arguments[1] or arguments[0]
    else:
        told = arguments[0] if arguments else ""
    seen.append((event, os.fsdecode(told) if isinstance(told, bytes) else str(told)))

sys.addaudithook(watch)
os.chdir(folder)
for where in (folder, "."):
    assert len(regraft.load(where).predict(inputs)) == 6
watching = False
homes = [str(getattr(m, "__file__", None) or "") for m in list(sys.modules.values())]
print(json.dumps({"seen": seen, "homes": homes}))
"""
PROCESSES = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen")


def test_the_interpreter_sees_no_code_of_the_bundle_run(tmp_path: Path) -> None:
    folder = copy("standalone", tmp_path / "bundle")
    for name in ("__init__.py", "json.py", "sitecustomize.py", "timm.py", "model.pkl", "evil.pth"):
        (folder / name).write_text("raise SystemExit('ran')")
    done = subprocess.run(
        [sys.executable, "-c", WATCH, GOLDEN / "standalone", INPUTS, folder, tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    seen = [(event, told) for event, told in said["seen"]]
    opened = {Path(told) for event, told in seen if event == "open" and not told.isdigit()}
    inside = {path.name for path in opened if path.parent in (folder, Path())}
    assert inside == FIXED  # the watch works, and nothing else was opened
    for event, told in seen:
        assert not event.startswith(("socket.", "pickle.", "marshal.load", "urllib.")), event
        assert event not in PROCESSES, (event, told)
        if event in ("exec", "compile", "import", "ctypes.dlopen"):
            assert str(folder) not in told, (event, told)
    assert not [home for home in said["homes"] if home.startswith(str(folder))]


IMPORTED = """
import sys
import regraft
for folder in sys.argv[2:]:
    regraft.load(folder).predict(sys.argv[1])
print(*sorted(m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "regraft"))
"""
BUILTINS = {"eval", "exec", "compile", "__import__"}
RUNNERS = {"import_module", "load_module", "exec_module", "find_class"}
READERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
PLACES = {"runpy", "code", "importlib", "subprocess", "ctypes", "zipimport"}

#: All there is, and why it is safe: each takes its name from a table in the same file, or reads
#: tensors only, from a package or a file that the user named and not from a bundle.
KNOWN = {
    ("__init__.py", "import importlib"),
    ("__init__.py", "import_module"),  # _HOMES
    ("inputs.py", "import importlib"),
    ("inputs.py", "import_module"),  # SPECS; a modality is looked up in it
    ("errors.py", "import importlib"),
    ("errors.py", "importlib.import_module"),  # need_extra, called with literals
    ("data/__init__.py", "import importlib"),
    ("data/__init__.py", "import_module"),
    ("data/decoders.py", "import importlib"),
    ("data/decoders.py", "import_module"),  # DECODERS
    ("data/sources.py", "import importlib"),
    ("data/sources.py", "import_module"),  # SOURCES
    ("engine/__init__.py", "import importlib"),
    ("engine/__init__.py", "import_module"),  # ENGINES
    ("heads/__init__.py", "import importlib"),
    ("heads/__init__.py", "import_module"),  # HEADS, when one is fitted; never when one is loaded
    ("data/pillow_modes.py", "import importlib"),
    ("data/pillow_modes.py", "import_module"),  # _KINDS: which of Pillow's readers
    ("backbones/parts.py", "exec"),  # what torch.fx wrote of a network of timm
    ("backbones/parts.py", "compile"),
    ("backbones/packaged.py", "import importlib"),  # where the package with the weights lies
    ("backbones/request.py", "import importlib"),  # which version of a package is there
    ("backbones/weights.py", "import pickle"),  # for the name of its error
    ("backbones/weights.py", "torch.load"),  # weights_only, of a file whose checksum is known
    ("files.py", "import ctypes"),  # to swap two names in one step
}


def runners(path: Path) -> set[tuple[str, str]]:
    """Everything in a module that could run or unpickle what it is given."""
    home = path.relative_to(SOURCE).as_posix()
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in [*names, getattr(node, "module", None) or ""]:
                harmless = name in ("importlib.metadata", "importlib.util")  # they look, no more
                if name.split(".")[0] in READERS | PLACES and not harmless:
                    found.add((home, f"import {name.split('.')[0]}"))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in BUILTINS or called.rsplit(".", 1)[-1] in RUNNERS:
                found.add((home, called))
            if called in ("torch.load", "np.load", "numpy.load", "os.system", "os.popen"):
                found.add((home, called))
                assert not any(k.arg == "allow_pickle" for k in node.keywords), home
                if called == "torch.load":
                    given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    assert given["weights_only"] == "True", home
    return found


@pytest.mark.slow
def test_no_module_on_the_way_can_run_what_it_reads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, INPUTS, *(GOLDEN / kind for kind in KINDS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    modules = [Path(name) for name in done.stdout.split()]
    assert {"model.py", "bundle.py", "tensors.py"} <= {path.name for path in modules}
    found = set().union(*(runners(path) for path in modules))
    assert found <= KNOWN, sorted(found - KNOWN)
    assert ("inputs.py", "import_module") in found  # the search finds what is there
