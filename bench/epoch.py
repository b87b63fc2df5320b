"""One epoch above the cut, with the cache and without it, against a whole-network fp32 epoch.

    python bench/epoch.py [BACKBONE …] [--rows 256] [--repeats 5] [--threads 2] [--folder FOLDER]

All in one run: two processes, one as a tutorial's reader has it and one with regraft's settings of
the allocator, take turns, so that a busy minute of the machine hits all alike. Prints medians, and
medians of the ratios within each repeat, in seconds and in seconds of the processors, which hardly
hear of what else the machine does; the numbers that lose too. The tutorial's pictures lie decoded
and normalised in memory, and only `--whole` of the rows are timed: its steps are all alike. Where
nothing is kept, decoding and the frozen stages run for every batch. Nobody's validation counts.
ResNet-50 has random weights here.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from epoch_tables import report

BATCH, SIZE, CLASSES, VALIDATE, EPOCHS = 32, 224, 5, 5, 3


@dataclass(frozen=True)
class Network:
    """A backbone to measure.

    Attributes:
        cut: the first stage that is trained.
        aim: how many times faster than the tutorial an epoch is to be.
        more: what `regraft.backbones.backbone` needs besides the name.
    """

    cut: str
    aim: float
    more: dict


NETWORKS = {
    "tf_efficientnet_lite0": Network("blocks.5.0", 5, {}),
    "resnet50": Network("layer4.0", 8, {"weights": "random"}),
}
#: Who takes turns, in which process, and what the table calls it.
TURNS = {
    "tutorial": ("plain", "tutorial: whole network, fp32"),
    "tutorial settled": ("settled", "the same with regraft's allocator settings"),
    "tutorial channels_last": ("settled", "the same with these and channels-last"),
    "live": ("settled", "above the cut, nothing kept"),
    "kept": ("settled", "**above the cut, from the cache**"),
    "bare": ("settled", "bare forward and backward above the cut"),
    "step": ("settled", "the same with clipping and AdamW's step"),
    "below": ("settled", "the engine alone, below the cut"),
    "decode": ("settled", "decoding alone"),
}


def timed(work: Callable[[], object], times: float = 1.0) -> dict:
    """What some work took, times a number."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    taken = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    return {unit: value * times for unit, value in taken.items()}


# What takes turns


def tutorial(name: str, whole: int, rows: int, memory: str) -> Callable[[], dict]:
    """An epoch of the whole network on normalised pictures in memory."""
    import timm
    import torch

    torch.manual_seed(0)
    order = getattr(torch, memory)
    net = timm.create_model(name, num_classes=CLASSES).to(memory_format=order)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()
    images, labels = torch.randn(whole, 3, SIZE, SIZE), torch.arange(whole) % CLASSES

    def batches(count: int) -> None:
        net.train()
        for at in range(0, count, BATCH):
            optimizer.zero_grad()
            some = images[at : at + BATCH].contiguous(memory_format=order)
            loss(net(some), labels[at : at + BATCH]).backward()
            optimizer.step()

    batches(BATCH)
    return lambda: timed(lambda: batches(whole), rows / whole)


def examples(rows: int, folder: str) -> list:
    """Labelled pictures of a folder, or JPEGs of noise."""
    import numpy as np
    from PIL import Image

    from regraft.data import Example
    from regraft.data.sources import labelled

    if folder:
        found = labelled(folder, "image").examples
        return [found[i] for i in np.random.default_rng(0).permutation(len(found))[:rows]]
    random = np.random.default_rng(0)

    def jpeg() -> bytes:
        coarse = random.integers(0, 256, (SIZE // 8, SIZE // 8, 3), np.uint8)
        held = io.BytesIO()
        Image.fromarray(coarse).resize((SIZE, SIZE)).save(held, "JPEG", quality=90)
        return held.getvalue()

    def of(raw: bytes) -> Callable[[], bytes]:
        return lambda: raw

    return [Example(f"{i}.jpg", of(jpeg()), str(i % CLASSES)) for i in range(rows)]


class Above:
    """regraft's training above the cut, and the pieces of it."""

    def __init__(self, name: str, rows: int, threads: int, folder: str) -> None:
        import numpy as np

        from regraft.backbones import backbone
        from regraft.backbones.info import Tap
        from regraft.features import compute
        from regraft.parts import HELD_OUT, Parts
        from regraft.pipeline import pipeline
        from regraft.plans import Phase, Recipe
        from regraft.train.making import Making

        wanted = NETWORKS[name]
        net = backbone(None if name.startswith("tf_eff") else name, **wanted.more)
        self.cut, at = net.index(wanted.cut), len(net) - 1
        taps = [Tap(at), Tap(self.cut - 1, False)]
        self.pipe = pipeline(net, taps, threads=threads)
        found = compute(examples(rows + VALIDATE, folder), self.pipe)
        n = len(found.examples) - VALIDATE
        self.rows = n - n % BATCH
        spans = ((0, self.rows), (n, n + VALIDATE), (0,))
        train, val, none = (found.take(np.arange(*span)) for span in spans)
        classes = tuple(sorted({e.label for e in found.examples}))
        parts = Parts(train, val, none, train, classes, HELD_OUT)
        plan = (Phase(self.cut, EPOCHS, 3e-4, patience=0),)
        say = partial(print, file=sys.stderr)
        recipe = Recipe(batch=BATCH, keep="full")
        made = Making(parts, self.pipe, plan, recipe, at, 0, say, None)
        self.job, self.train_rows = made.job(None), train
        self.start = self.job.above.snapshot()

    def turns(self) -> dict[str, Callable[[], dict]]:
        """Every contestant, warmed up."""
        from regraft.flows import flows
        from regraft.train.job import Part

        bare = replace(self.train_rows, rows={})  # what is kept is not to be found
        live = flows(bare, self.pipe, [self.cut], keep="live").flows
        part = self.job.train
        without = replace(self.job, train=Part(live, part.labels, part.names))
        found = {
            "live": lambda: self.train(without),
            "kept": lambda: self.train(self.job),
            "bare": self.loop(step=False),
            "step": self.loop(step=True),
            "decode": self.decoding(),
            "below": self.below(),
        }
        for turn in found.values():
            turn()
        return found

    def train(self, job) -> dict:
        """regraft's own loop from the same weights: the mean of its epochs, the last weights.

        The processors' seconds are with validation, of 5 rows.
        """
        from regraft.train.loop import train
        from regraft.train.state import Keeper

        job.above.restore(self.start)
        seconds: list[float] = []
        digests = [self.digest()]

        def watch(event: dict) -> None:
            seconds.append(event["seconds"])
            digests.append(self.digest())  # of what training reached, not of the best so far

        took = timed(lambda: train(job, Keeper(None), watch), 1 / EPOCHS)
        if len(set(digests)) <= EPOCHS:
            raise SystemExit("an epoch has changed nothing")
        return took | {"seconds": statistics.mean(seconds), "digest": digests[-1]}

    def digest(self) -> str:
        """Of every tensor by its name."""
        import torch
        from xxhash import xxh3_128

        state = xxh3_128()
        for name, tensor in sorted(self.job.above.tensors().items()):
            state.update(name.encode())
            state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return state.hexdigest()

    def loop(self, step: bool) -> Callable[[], dict]:
        """Forward and backward on batches in memory; with `step` the optimizer too."""
        import numpy as np
        import torch

        from regraft.train import optim, rates
        from regraft.train.fastest import ready

        job, above = self.job, self.job.above
        flows = job.train.flows[self.cut]
        ready(job, 0)
        index = np.arange(self.rows).reshape(-1, BATCH)
        held = [(job.send(flows.read(i)), torch.from_numpy(job.train.labels[i])) for i in index]
        trained = {n: p for n, p in above.parameters_by_name().items() if p.requires_grad}
        rate_of = rates.rates(above.stage_of(), job.plan[0], above.at + 1)
        optimizer = optim.optimizer(trained, rate_of, job.recipe, job.plan[0])

        def epoch() -> None:
            ready(job, 0)
            for flow, target in held:
                optimizer.zero_grad()
                with job.autocast():
                    logits = above(flow, self.cut)
                torch.nn.functional.cross_entropy(logits.float(), target).backward()
                if step:
                    optim.clip(trained.values(), job.recipe.clip)
                    optimizer.step()

        return lambda: timed(epoch)

    def decoding(self) -> Callable[[], dict]:
        """Every picture from its bytes to a row, on as many threads as elsewhere."""
        from concurrent.futures import ThreadPoolExecutor

        from regraft.data import decoder

        spec = self.pipe.info.input
        decode = decoder(spec.modality).decode
        pool = ThreadPoolExecutor(self.pipe.threads)

        def all_rows() -> list:
            return list(pool.map(lambda e: decode(e.read(), spec), self.train_rows.examples))

        self.decoded = all_rows()
        return lambda: timed(all_rows)

    def below(self) -> Callable[[], dict]:
        """The frozen stages on decoded rows; what comes of them is thrown away."""
        from regraft.backbones.info import Tap

        pipe = replace(self.pipe, taps=(Tap(self.cut - 1, False),))
        session = pipe.open(self.train_rows.precision)

        def run() -> None:
            for _ in session.run(iter(self.decoded)):
                pass

        return lambda: timed(run)


# Two processes


def serve(given: argparse.Namespace) -> None:
    """A worker: answers each name on standard input with a line of JSON."""
    import torch

    from regraft.engine.process import settle

    name = given.backbones[0]
    torch.set_num_threads(given.threads)
    if given.serve == "plain":
        turns = {"tutorial": tutorial(name, given.whole, given.rows, "contiguous_format")}
        facts: dict = {"torch": torch.__version__}
    else:
        settle(given.threads)
        above = Above(name, given.rows, given.threads, given.folder)
        turns = above.turns() | {
            "tutorial settled": tutorial(name, given.whole, above.rows, "contiguous_format"),
            "tutorial channels_last": tutorial(name, given.whole, above.rows, "channels_last"),
        }
        job = above.job
        facts = {"rows": above.rows, "memory": job.memory, "amp": job.amp}
        facts |= {"engine": above.pipe.engine.name, "trained": trained_share(job)}
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(json.dumps(turns[line.strip()]()), flush=True)


def trained_share(job) -> str:
    """How much of the network is trained."""
    above = sum(p.numel() for p in job.above.parameters_by_name().values())
    return f"{above / 1e6:.1f} M"


class Process:
    """A worker, from outside."""

    def __init__(self, kind: str, name: str, given: argparse.Namespace, cache: str) -> None:
        command = [sys.executable, __file__, name, "--serve", kind, "--rows", str(given.rows)]
        command += [
            "--whole",
            str(given.whole),
            "--threads",
            str(given.threads),
            "--folder",
            given.folder,
        ]
        settings = {"OMP_NUM_THREADS": str(given.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        environment = os.environ | settings | {"REGRAFT_CACHE": cache, "HF_HUB_OFFLINE": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.child = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.facts = self.answer()

    def answer(self) -> dict:
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with {self.child.wait()}")
        return json.loads(line)

    def turn(self, what: str) -> dict:
        self.child.stdin.write(what + "\n")
        self.child.stdin.flush()
        return self.answer()

    def end(self) -> None:
        self.child.stdin.close()
        self.child.wait()


def measure(name: str, given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as cache:
        workers = {kind: Process(kind, name, given, cache) for kind in ("plain", "settled")}
        repeats = []
        for number in range(given.repeats):
            order = list(TURNS) if number % 2 == 0 else list(reversed(TURNS))
            got = {}
            for what in order:
                got[what] = workers[TURNS[what][0]].turn(what)
                print(f"{name} {number}: {what} {got[what]['seconds']:.2f} s", file=sys.stderr)
            repeats.append(got)
        for worker in workers.values():
            worker.end()
    facts = workers["plain"].facts | workers["settled"].facts
    report(name, NETWORKS[name], TURNS, facts, given.threads, repeats)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("backbones", nargs="*", choices=[*NETWORKS, []], default=[])
    arguments.add_argument("--rows", type=int, default=256)
    arguments.add_argument(
        "--whole", type=int, default=64, help="rows that the tutorial is timed on"
    )
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--folder", default="", help="pictures; JPEGs of noise if not given")
    arguments.add_argument("--serve", choices=("plain", "settled"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.serve:
        serve(given)
        return
    for name in given.backbones or NETWORKS:
        measure(name, given)


if __name__ == "__main__":
    main()
