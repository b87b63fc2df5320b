"""What the ways to compute a training take, each in a process of its own: milliseconds per batch.

    python bench/ways.py [NAME:CUT …] [--repeats 3] [--batch 32] [--compile]

Lite0 has its ImageNet weights, every other network random ones. Processes take turns; the table has
medians of the repeats, the first batch not counted, and each way over the first one in the same
repeat. `regraft fit` measures the same in one process before it begins.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

SIZE, CLASSES, BATCHES = 224, 5, 5
NETWORKS = ["tf_efficientnet_lite0:blocks.5.0", "tf_efficientnet_lite0:0", "resnet50:layer4.0"]
#: amp, memory, threads, allocator, compiled
WAYS = [
    ("f32", "contiguous", 2, "keep", 0),
    ("f32", "channels_last", 2, "keep", 0),
    ("f32", "channels_last", 1, "keep", 0),
    ("f32", "channels_last", 2, "system", 0),
    ("f32", "channels_last", 2, "keep", 1),
    ("bf16", "channels_last", 2, "keep", 0),
]


def measure(name: str, cut: str, way: list, rows: int) -> dict:
    """Seconds of the first batch, and the median of those after it."""
    import torch

    from regraft.backbones import backbone
    from regraft.engine.process import settle
    from regraft.heads.layers import Affine, Layers
    from regraft.train.above import Above

    amp, memory, threads, allocator, compiled = way
    settle(threads, allocator)
    torch.manual_seed(0)
    net = backbone(name, **({} if "lite0" in name else {"weights": "random"}))
    at = len(net) - 1
    names = [stage.name for stage in net.info.stages]
    first = 0 if cut == "0" else names.index(cut)
    width = net.info.stages[at].shape[0]
    random = torch.randn(width, CLASSES).numpy() * 0.01
    zeros = random[:, 0] * 0
    above = Above(net, first, at, Layers((Affine(zeros, random, random[0] * 0),)))
    above.preamble = None
    order = torch.channels_last if memory == "channels_last" else torch.contiguous_format
    above.to(memory_format=order).train()
    above.compiled = rows if compiled else 0
    shape = net.info.stages[first - 1].shape if first else (3, SIZE, SIZE)
    flow = torch.randn(rows, *shape).contiguous(memory_format=order)
    labels = torch.arange(rows) % CLASSES
    took = []
    for _ in range(1 + BATCHES):
        start = time.perf_counter()
        above.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=amp == "bf16"):
            logits = above.score(above.features(flow, first, prepared=True))
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        took.append(time.perf_counter() - start)
    return {"first": took[0], "batch": statistics.median(took[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*json.loads(given.one))))
        return
    for network in given.networks:
        name, _, cut = network.partition(":")
        found: dict[int, list[dict]] = {number: [] for number in range(len(WAYS))}
        for _ in range(given.repeats):
            for number, way in enumerate(WAYS):
                asked = json.dumps([name, cut, list(way), given.batch])
                ran = [sys.executable, __file__, "--one", asked]
                out = subprocess.run(ran, capture_output=True, text=True, check=True).stdout
                found[number].append(json.loads(out.splitlines()[-1]))
        print(f"\n{name} from {cut}, {given.batch} rows\n")
        print("| way | ms per batch | over the first (range) | first batch, s |")
        print("| --- | ---: | ---: | ---: |")
        for number, (amp, memory, threads, allocator, compiled) in enumerate(WAYS):
            told = f"{amp} {memory}, {threads} threads, {allocator}" + ", compiled" * compiled
            mine = [row["batch"] for row in found[number]]
            over = [a["batch"] / b for a, b in zip(found[0], mine, strict=True)]
            first = statistics.median(row["first"] for row in found[number])
            print(
                f"| {told} | {1e3 * statistics.median(mine):.0f} | {statistics.median(over):.2f} "
                f"({min(over):.2f} to {max(over):.2f}) | {first:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
