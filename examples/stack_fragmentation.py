"""Threads until none can be made, on fragmented memory, with and without VMAP_STACK.

    python examples/stack_fragmentation.py                      a table of all points
    python examples/stack_fragmentation.py --svg stacks.svg     and the plot
    python examples/stack_fragmentation.py --memory 512M        a smaller machine, in seconds

All memory is taken page by page, as unmovable kernel memory, the reserves below the watermarks
too. Then a part of the pages is freed: each with the same chance, drawn from a seed, or every
second one. What is free then lies in blocks as chance left them. Threads of one process are made
until a fork fails. The limits on the number of threads and of processes are raised, so that memory
alone decides.
"""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

from mmtwin import Machine
from mmtwin.draw.stack_picture import stacks_svg
from mmtwin.kernel.page_alloc import alloc_pages, free_pages
from mmtwin.kernel.sched import tasks_of

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
# GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN: no watermark stops it
TAKE_ALL = 0xCC0 | 0x20000 | 0x2000
SEED = 1
STACK_ORDER = 2


def take_all(k: Machine) -> list[int]:
    """Takes every page that is not kept for movable memory, one at a time; their pfns."""
    taken = []
    while (pfn := alloc_pages(k.mm, TAKE_ALL, 0, -1)) >= 0:
        taken.append(pfn)
    return taken


def fragment(k: Machine, share: float | None) -> int:
    """Takes all memory and frees a share of the pages, each with the same chance; None: every
    second page. How many pages were freed.
    """
    draw = random.Random(SEED)
    freed = 0
    for pfn in sorted(take_all(k)):
        if pfn & 1 if share is None else draw.random() < share:
            free_pages(k.mm, pfn, 0)
            freed += 1
    return freed


def free_stacks(k: Machine) -> int:
    """How many blocks of a stack's size the free lists hold that the kernel may take."""
    blocks = 0
    for zone in k.mm.view("zone"):
        orders = zone["nr_free"]
        blocks += sum(int(orders[o]) << (o - STACK_ORDER) for o in range(STACK_ORDER, len(orders)))
        blocks -= int(zone["nr_free_cma"]) >> STACK_ORDER
    return blocks


def threads_until_failure(
    profile: str, memory: str, vmap_stack: bool, share: float | None
) -> dict[str, Any]:
    """One point: how many threads a machine makes whose memory is fragmented so."""
    k = Machine.boot(profile, memory=memory, VMAP_STACK=vmap_stack)
    k.mm.contents = 0  # what the stacks hold plays no part
    tasks_of(k.mm).max_threads = tasks_of(k.mm).pid_max = 1 << 22
    k.run(k.fork("threads"))  # type: ignore[arg-type]
    freed = fragment(k, share)
    blocks = free_stacks(k)
    threads = 0
    while k.fork("threads", thread=True):
        threads += 1
    return {
        "share": share, "vmap_stack": vmap_stack, "pages_freed": freed,
        "blocks_of_four": blocks, "threads": threads, "error": k.fork_error,
        "free_at_the_end": int(k.mm.view("zone")["nr_free_pages"].sum()),
    }  # fmt: skip


def experiment(
    profile: str, memory: str, shares: tuple[float, ...] = SHARES
) -> dict[str, Any]:
    """All points of the plot."""
    points = []
    for share in (*shares, None):
        for vmap_stack in (False, True):
            point = threads_until_failure(profile, memory, vmap_stack, share)
            points.append(point)
            print(line_of(point), file=sys.stderr)
    return {"profile": profile, "memory": memory, "points": points}


def line_of(point: dict[str, Any]) -> str:
    """One point as a line of the table."""
    share = "every second" if point["share"] is None else f"{point['share']:.0%}"
    kind = "VMAP_STACK" if point["vmap_stack"] else "contiguous"
    return f"{share:>13}  {kind}  {point['pages_freed']:>8} pages freed  " \
           f"{point['blocks_of_four']:>7} blocks of 4  {point['threads']:>7} threads"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--profile", default="arm64-5.13")
    parser.add_argument("--memory", default="4G")
    parser.add_argument("--svg", type=Path, help="write the plot here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    figures = experiment(arguments.profile, arguments.memory)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if arguments.svg:
        arguments.svg.write_text(stacks_svg(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
