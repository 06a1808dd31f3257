"""The arm64 instruction that prefetches a cache line, and how the kernel writes it.

Arm Architecture Reference Manual, PRFM (immediate): <prfop>, a type, a target and a policy in five
bits. arch/arm64/include/asm/processor.h: prefetch(), prefetchw().
"""

import re
from typing import Any

TYPES = {
    "pld": (0, "prefetch for load", "the data will be read"),
    "pli": (1, "preload instructions", "the code will be executed"),
    "pst": (2, "prefetch for store", "the data will be written"),
}
TARGETS = {
    "l1": (0, "the first level"), "l2": (1, "the second level"), "l3": (2, "the third level"),
    "slc": (3, "the system level cache (FEAT_PRFMSLC)"),
}  # fmt: skip
POLICIES = {"keep": (0, "allocated in the cache normally"),
            "strm": (1, "for data that is used only once (streaming)")}  # fmt: skip
OPERATION = re.compile(f"({'|'.join(TYPES)})({'|'.join(TARGETS)})({'|'.join(POLICIES)})")
# arch/arm64/include/asm/processor.h
KERNEL = {"pldl1keep": "prefetch()", "pstl1keep": "prefetchw()",
          "pstl1strm": "in arch/arm64/include/asm/atomic_ll_sc.h, before LDXR"}  # fmt: skip
ASM = (
    ('asm volatile("prfm pldl1keep, %a0\\n" : : "p" (ptr));', "the kernel's prefetch(ptr)"),
    ("%a0", "operand 0 as a memory address: [x0] for what is in x0 (a modifier of GCC)"),
    ('"p"', "constraint: the operand is a valid memory address, as for `load address`"),
    ("volatile", "not to be moved away or left out, although it has no result"),
    ("no \"memory\" clobber", "it reads and writes nothing that the compiler has to know of"),
)  # fmt: skip


def explain_prfm(operation: str) -> dict[str, Any]:
    """The parts of a prefetch operation, as `pldl1keep`. Raises ValueError for another."""
    match = OPERATION.fullmatch(operation.lower())
    if match is None:
        raise ValueError(
            f"no prefetch operation {operation!r}: a type ({', '.join(TYPES)}), a target "
            f"({', '.join(TARGETS)}) and a policy ({', '.join(POLICIES)}), as pldl1keep"
        )
    kind, target, policy = match.groups()
    number = TYPES[kind][0] << 3 | TARGETS[target][0] << 1 | POLICIES[policy][0]
    return {
        "operation": match[0],
        "number": number,
        "type": {"name": kind, "bits": f"{TYPES[kind][0]:02b}", "meaning": TYPES[kind][1],
                 "use": TYPES[kind][2]},
        "target": {"name": target, "bits": f"{TARGETS[target][0]:02b}",
                   "meaning": TARGETS[target][1]},
        "policy": {"name": policy, "bits": f"{POLICIES[policy][0]:b}",
                   "meaning": POLICIES[policy][1]},
        "kernel": KERNEL.get(match[0], "no use in mm/"),
        "asm": [{"text": text, "meaning": meaning} for text, meaning in ASM],
    }  # fmt: skip


def lines_of(found: dict[str, Any]) -> list[str]:
    """The explanation as lines of text."""
    lines = [f"prfm {found['operation']}: operation {found['number']} ({found['number']:05b})"]
    for part in ("type", "target", "policy"):
        row = found[part]
        use = f": {row['use']}" if "use" in row else ""
        lines.append(f"  {part:<6}  {row['bits']:>2}  {row['name']:<4}  {row['meaning']}{use}")
    lines.append(f"  in the kernel: {found['kernel']}")
    lines += ["", "how it is written"]
    width = max(len(text) for text, _ in ASM[1:])
    lines.append(f"  {ASM[0][0]}")
    lines += [f"  {text:<{width}}  {meaning}" for text, meaning in ASM[1:]]
    return lines
