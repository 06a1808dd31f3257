"""What trees of areas each kernel has: their rows of the feature table.

An empty commit: the release was found in the sources of releases, the commit not looked up.
maple_bulk, among SLUB's rows, belongs here too.
"""

from mmtwin.versions.facts import Change, Feature

TREES = (
    Feature("maple_tree", "areas are in a maple tree, not in a list and a red-black tree", 0,
            Change("6.1", 1, "524e00b36e8c")),
    Feature("maple_slot_store_full", "a leaf that is nearly full may change in place", 0,
            Change("6.5", 1, "")),
    Feature("munmap_counts_detached", "munmap() collects areas by their count, not their address",
            0, Change("6.6", 1, "fd892593d44d")),
    # 6.5 does not have it, 6.8 does
    Feature("maple_frees_from_top", "replaced nodes go from the top down, not from the leaf up", 0,
            Change("6.6", 1, "")),
    Feature("maple_store_type", "stores ask for the nodes that their kind may need, beforehand", 0,
            Change("6.12", 1, "5d659bbb52a2")),
    Feature("maple_dup", "fork copies the tree node by node, not entry by entry", 0,
            Change("6.8", 1, "d24062914837")),
    # 6.14 does not have these two, 6.18 does
    Feature("maple_converges", "a rebalance ends where one node takes one's place", 0,
            Change("6.16", 1, "")),
    Feature("maple_counts_vacant", "full nodes decide how many nodes a store may need", 0,
            Change("6.16", 1, "")),
    Feature("maple_sheaves", "several nodes come in a prefilled sheaf", 0,
            Change("6.18", 1, "9b05890a25d9")),
    # 6.19 does not have it, 7.3 does
    Feature("maple_copy", "stores into several nodes share entries out level by level", 0,
            Change("7.1", 1, "")),
    Feature("unmapped_min_addr", "no area is placed below vm.mmap_min_addr", 0,
            Change("6.4", 1, "6b008640db73")),
)
