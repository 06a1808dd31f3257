"""What a replay of processes compared, and what was not the same: by kind, with examples."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 8
# Kinds of comparisons, in the order of the report.
KINDS = {
    "addresses": "addresses that mmap, brk and mremap gave",
    "errors": "calls that failed, and their errno",
    "results": "other calls' results",
    "searches": "vm_unmapped_area, all fields",
    "faults": "page faults: taken, and whether the page was present",
    "signals": "faults that end in a signal",
    "rss_stat": "rss_stat: member and size, in order",
    "vma_store": "vma_store: bounds, in order",
    "maps": "maps of processes at snapshots",
    "smaps": "lines of smaps",
    "status": "sizes in status",
    "committed": "Committed_AS and CommitLimit of meminfo",
}


@dataclass
class Tally:
    """`pairs`: kind -> [compared, same]; `missed`: what differed, by a name of its own;
    `examples` of each.
    """

    pairs: dict[str, list[int]] = field(default_factory=dict)
    missed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def compare(self, kind: str, same: bool, name: str = "", example: str = "") -> bool:
        """One comparison of a kind; `name` and `example` say what differed."""
        pair = self.pairs.setdefault(kind, [0, 0])
        pair[0] += 1
        pair[1] += same
        if not same:
            self.miss(name or kind, example)
        return same

    def miss(self, name: str, example: str = "") -> None:
        """Something that differed, or that the recording cannot tell."""
        self.missed[name] += 1
        found = self.examples.setdefault(name, [])
        if example and len(found) < EXAMPLES:
            found.append(example)

    def misses(self) -> int:
        """How many of all comparisons were not the same."""
        return sum(compared - same for compared, same in self.pairs.values())

    def add(self, other: "Tally") -> None:
        """Another tally's comparisons count here too."""
        for kind, (compared, same) in other.pairs.items():
            pair = self.pairs.setdefault(kind, [0, 0])
            pair[0] += compared
            pair[1] += same
        for name, count in other.missed.items():
            examples = other.examples.get(name, [])
            for number in range(count):
                self.miss(name, examples[number] if number < len(examples) else "")

    def exact(self) -> bool:
        """Whether everything compared was the same."""
        return all(same == compared for compared, same in self.pairs.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        pairs = {
            kind: {"compared": self.pairs[kind][0], "same": self.pairs[kind][1]}
            for kind in KINDS if kind in self.pairs
        }  # fmt: skip
        return {"compared": pairs, "missed": dict(self.missed.most_common()),
                "examples": self.examples}
