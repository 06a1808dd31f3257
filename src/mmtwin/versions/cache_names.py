"""Slab caches that go by another name, or are not there, in other releases."""

# Old and new names of the same structure's cache. Most came with KMEM_CACHE(), which names a cache
# as its structure (6.9).
RENAMED = (
    ("cred_jar", "cred"), ("ip_dst_cache", "rtable"), ("inet_peer_cache", "inet_peer"),
    ("fib6_nodes", "fib6_node"), ("fscrypt_info", "fscrypt_inode_info"),
    ("iint_cache", "ima_iint_cache"), ("ip_mrt_cache", "mfc_cache"),
    ("ip6_mrt_cache", "mfc6_cache"), ("xfrm_dst_cache", "xfrm_dst"),
    ("khugepaged_mm_slot", "mm_slot"), ("bio_integrity_payload", "bio_integrity_data"),
    ("request_queue_srcu", "request_queue"),
)  # fmt: skip
# Caches whose structure is not in every release: where they are not, nobody asks for it.
# - maple_node: since the maple tree, 54a611b60590 (6.1)
# - vma_lock: a lock of its own for each area, from c7f8f31c00d1 (6.4) until it moved into
#   struct vm_area_struct
# - lsm_inode_cache: where a security module keeps something for each inode (lsm_inode_alloc())
NOT_EVERYWHERE = ("maple_node", "vma_lock", "lsm_inode_cache")


def other_names(name: str) -> list[str]:
    """Names that a cache goes by in other releases."""
    return [b if a == name else a for a, b in RENAMED if name in (a, b)]
