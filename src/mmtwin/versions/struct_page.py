"""struct page and what overlays it, as declarations: include/linux/mm_types.h, mm/slab.h.

`structure` lays them out for a release, an architecture and a configuration, with 32 or 64 bits;
tests hold every layout against the type information of the kernels at hand. The form of a line is
in c_layout.select(): behind `|` stand the conditions under which it is there, all of which must
hold: `>=6.1`, `<6.1`, a switch of the configuration, `64`, `32`, or one of them after `!`.
"""

from collections.abc import Callable, Mapping

from mmtwin.versions.c_layout import Compiler, Structure, select
from mmtwin.versions.releases import has_since

# Read from the declarations of 5.10 to 5.15, 5.17, 5.19, 6.1 to 6.6, 6.8, 6.12 to 6.14, 6.19 and
# 7.3, and from the type information of 5.10, 6.1, 6.12, 6.18 and 7.3; what changed between two of
# them stands with the later one, or with the release whose notes name it.
PAGE = """
unsigned long flags | <6.18 # flags, and node, zone, section at the top
memdesc_flags_t flags | >=6.18 # flags, and node, zone, section at the top
union {
  struct { # cache: page cache and anonymous pages
    struct list_head lru | <5.18 # list of pages to be reclaimed
    union { | >=5.18
      struct list_head lru # list of pages to be reclaimed
      struct { | <6.16
        void *__filler
        unsigned int mlock_count # unevictable pages: mlocks
      }
      struct list_head buddy_list | >=6.0 # free block
      struct list_head pcp_list | >=6.0 # per-CPU list
      struct llist_node pcp_llist | >=6.16
    }
    struct address_space *mapping # file or anon_vma; the lowest bits say which
    pgoff_t index | <6.2 # place in the mapping, in pages
    union { | >=6.2
      pgoff_t index | <6.16 # place in the mapping, in pages
      pgoff_t __folio_index | >=6.16 # place in the mapping, in pages
      unsigned long share
    }
    unsigned long private # swap entry, buffers, order of a free block
  }
  struct { | <5.14 # pool: page_pool of the network stack
    dma_addr_t dma_addr | <5.10.37
    unsigned long dma_addr[2] | >=5.10.37
  }
  struct { | >=5.14 # pool: page_pool of the network stack
    unsigned long pp_magic
    struct page_pool *pp
    unsigned long _pp_mapping_pad
    unsigned long dma_addr[2] | <5.15
    unsigned long dma_addr | >=5.15
    union { | >=5.15 <6.8
      unsigned long dma_addr_upper
      atomic_long_t pp_frag_count
    }
    atomic_long_t pp_ref_count | >=6.8
  }
  struct { | <5.17 # slab: a slab of SLUB
    union {
      struct list_head slab_list
      struct {
        struct page *next # CPU partial list
        int pages | <5.16 64
        int pobjects | <5.16 64
        short pages | <5.16 32
        short pobjects | <5.16 32
        int slabs | >=5.16
      }
    }
    struct kmem_cache *slab_cache
    void *freelist # first free object
    union {
      void *s_mem
      unsigned long counters
      struct {
        unsigned int inuse:16
        unsigned int objects:15
        unsigned int frozen:1
      }
    }
  }
  struct { # tail: tail pages of a compound page
    unsigned long compound_head | <7.1 # the head page's address, bit 0 set
    unsigned long compound_info | >=7.1 # how to find the head page, bit 0 set
    unsigned char compound_dtor | <6.3 # first tail page only, from here on
    unsigned char compound_order | <6.3
    atomic_t compound_mapcount | <6.3
    atomic_t subpages_mapcount | >=6.2 <6.3
    atomic_t compound_pincount | >=5.18 <6.3
    unsigned int compound_nr | <5.18
    unsigned int compound_nr | >=5.18 <6.3 64
    unsigned long _private_1 | >=6.1 <6.2 64
  }
  struct { | <6.3 # tail2: second tail page of a compound page
    unsigned long _compound_pad_1
    atomic_t hpage_pinned_refcount | <5.18
    unsigned long _compound_pad_2 | >=5.18
    struct list_head deferred_list
  }
  struct { | >=6.2 <6.3 # tail2: second tail page of a huge page of hugetlbfs
    unsigned long _hugetlb_pad_1
    void *hugetlb_subpool
    void *hugetlb_cgroup
    void *hugetlb_cgroup_rsvd
    void *hugetlb_hwpoison
  }
  struct { | <6.6 # table: page table pages
    unsigned long _pt_pad_1
    pgtable_t pmd_huge_pte
    unsigned long _pt_pad_2
    union {
      struct mm_struct *pt_mm # x86: top page tables only
      atomic_t pt_frag_refcount
      atomic_t pt_share_count | >=5.10.235 ARCH_WANT_HUGE_PMD_SHARE
    }
    spinlock_t ptl | !LARGE_SPINLOCK
    spinlock_t *ptl | LARGE_SPINLOCK
  }
  struct { # device: ZONE_DEVICE pages
    struct dev_pagemap *pgmap | <6.15
    void *_unused_pgmap_compound_head | >=6.15 <7.1
    void *_unused_pgmap_compound_info | >=7.1
    void *zone_device_data
  }
  struct rcu_head rcu_head # freed after a grace period
}
union {
  unsigned int page_type | >=6.11 # of pages that no process maps
  atomic_t _mapcount # page tables that map it, less one
  unsigned int page_type | <6.11
  unsigned int active | <5.17
  int units | <5.17
}
atomic_t _refcount # users
union { | <5.11 MEMCG
  struct mem_cgroup *mem_cgroup
  struct obj_cgroup **obj_cgroups
}
unsigned long memcg_data | >=5.11 MEMCG # cgroup it is charged to
unsigned long _unused_slab_obj_exts | >=6.10 !MEMCG SLAB_OBJ_EXT
void *virtual | WANT_PAGE_VIRTUAL
struct page *kmsan_shadow | KMSAN >=6.1 <6.7
struct page *kmsan_origin | KMSAN >=6.1 <6.7
int _last_cpupid | LAST_CPUPID_NOT_IN_PAGE_FLAGS
struct page *kmsan_shadow | KMSAN >=6.7
struct page *kmsan_origin | KMSAN >=6.7
"""
SLAB = """
unsigned long __page_flags | <6.18
memdesc_flags_t flags | >=6.18
union { | <6.2
  struct list_head slab_list
  struct rcu_head rcu_head
  struct { | SLUB_CPU_PARTIAL
    struct slab *next
    int slabs
  }
}
struct kmem_cache *slab_cache
void *freelist | <6.2 # first free object
union { | <6.2
  unsigned long counters
  struct {
    unsigned int inuse:16
    unsigned int objects:15
    unsigned int frozen:1
  }
}
union { | >=6.2
  struct {
    union {
      struct list_head slab_list
      struct { | >=6.18 <7.0 # freed where no lock can be taken
        struct llist_node llnode
        void *flush_freelist
      }
      struct { | SLUB_CPU_PARTIAL <7.1
        struct slab *next
        int slabs
      }
    }
    union {
      struct {
        void *freelist # first free object
        union {
          unsigned long counters
          struct {
            unsigned int inuse:16
            unsigned int objects:15
            unsigned int frozen:1
            unsigned int obj_exts_in_object:1 | >=7.1 64
            unsigned int obj_exts_needs_objcg:1 | >=7.1 64
          }
        }
      }
      freelist_aba_t freelist_counter | >=6.5 <6.19 64
      freelist_full_t freelist_counters | >=6.19 64
    }
  }
  struct rcu_head rcu_head
}
unsigned int __unused | <6.11
unsigned int __page_type | >=6.11
atomic_t __page_refcount
unsigned long memcg_data | MEMCG <6.10
unsigned long obj_exts | SLAB_OBJ_EXT >=6.10
"""
PTDESC = """
unsigned long __page_flags | <6.18
memdesc_flags_t pt_flags | >=6.18
union {
  struct rcu_head pt_rcu_head
  struct list_head pt_list
  struct {
    unsigned long _pt_pad_1
    pgtable_t pmd_huge_pte
  }
}
unsigned long __page_mapping
union {
  pgoff_t pt_index | >=6.9
  struct mm_struct *pt_mm # x86: top page tables only
  atomic_t pt_frag_refcount
  atomic_t pt_share_count | ARCH_WANT_HUGE_PMD_SHARE >=6.12
}
union {
  unsigned long _pt_pad_2
  spinlock_t ptl | !LARGE_SPINLOCK
  spinlock_t *ptl | LARGE_SPINLOCK
}
unsigned int __page_type
atomic_t __page_refcount
unsigned long pt_memcg_data | MEMCG
"""
FOLIO = """
union {
  struct { # cache: its first page
    unsigned long flags | <6.18 # flags, and node, zone, section at the top
    memdesc_flags_t flags | >=6.18 # flags, and node, zone, section at the top
    union {
      struct list_head lru # list of folios to be reclaimed
      struct { | >=5.18
        void *__filler
        unsigned int mlock_count # unevictable pages: mlocks
      }
      struct dev_pagemap *pgmap | >=6.15
    }
    struct address_space *mapping # file or anon_vma; the lowest bits say which
    pgoff_t index | <6.16 # place in the mapping, in pages
    union { | >=6.16
      pgoff_t index # place in the mapping, in pages
      unsigned long share
    }
    void *private | <6.6
    union { | >=6.6
      void *private
      swp_entry_t swap
      unsigned long migrate_info | >=7.1
    }
    atomic_t _mapcount
    atomic_t _refcount # users
    unsigned long memcg_data | MEMCG
    unsigned long _unused_slab_obj_exts | >=6.10 !MEMCG SLAB_OBJ_EXT
    void *virtual | >=6.7 WANT_PAGE_VIRTUAL
    int _last_cpupid | >=6.7 LAST_CPUPID_NOT_IN_PAGE_FLAGS
  }
  struct page page
}
unsigned long _flags_1 | >=6.1 <6.2
unsigned long __head | >=6.1 <6.2
unsigned char _folio_dtor | >=6.1 <6.2
unsigned char _folio_order | >=6.1 <6.2
atomic_t _total_mapcount | >=6.1 <6.2
atomic_t _pincount | >=6.1 <6.2
unsigned int _folio_nr_pages | >=6.1 <6.2 64
unsigned long _private_1 | >=6.1 <6.2
union { | >=6.2 <6.16
  struct { # second page of a large folio
    unsigned long _flags_1
    unsigned long _head_1
    unsigned char _folio_dtor | <6.6
    unsigned char _folio_order | <6.6
    unsigned long _folio_avail | >=6.6 <6.10
    atomic_t _compound_mapcount | <6.3
    atomic_t _subpages_mapcount | <6.3
    atomic_t _large_mapcount | >=6.10 # page tables that map a page of it, less one
    atomic_t _entire_mapcount | >=6.3 # page tables that map it as a whole, less one
    atomic_t _nr_pages_mapped | >=6.3
    atomic_t _pincount
    unsigned int _folio_nr_pages | 64
  }
  struct page __page_1
}
union { | >=6.2 <6.16
  struct { # third page, of hugetlbfs
    unsigned long _flags_2
    unsigned long _head_2
    void *_hugetlb_subpool
    void *_hugetlb_cgroup
    void *_hugetlb_cgroup_rsvd
    void *_hugetlb_hwpoison
  }
  struct { | >=6.3 # third page
    unsigned long _flags_2a
    unsigned long _head_2a
    struct list_head _deferred_list # folios that could be split
  }
  struct page __page_2
}
union { | >=6.16
  struct { # second page of a large folio
    unsigned long _flags_1
    unsigned long _head_1
    union {
      struct {
        atomic_t _large_mapcount # page tables that map a page of it, less one
        atomic_t _nr_pages_mapped
        atomic_t _entire_mapcount | 64
        atomic_t _pincount | 64
        mm_id_mapcount_t _mm_id_mapcount[2]
        union {
          mm_id_t _mm_id[2]
          unsigned long _mm_ids
        }
      }
      unsigned long _usable_1[4]
    }
    atomic_t _mapcount_1
    atomic_t _refcount_1
    unsigned int _nr_pages | 64
  }
  struct page __page_1
}
union { | >=6.16
  struct { # third page
    unsigned long _flags_2
    unsigned long _head_2
    struct list_head _deferred_list # folios that could be split
    atomic_t _entire_mapcount | 32
    atomic_t _pincount | 32
  }
  struct page __page_2
}
union { | >=6.16
  struct { # fourth page, of hugetlbfs
    unsigned long _flags_3
    unsigned long _head_3
    void *_hugetlb_subpool
    void *_hugetlb_cgroup
    void *_hugetlb_cgroup_rsvd
    void *_hugetlb_hwpoison
  }
  struct page __page_3
}
"""
DECLARATIONS = {"folio": FOLIO, "page": PAGE, "slab": SLAB, "ptdesc": PTDESC}
# From which release on there is one.
SINCE = {"page": "0.0", "folio": "5.16", "slab": "5.17", "ptdesc": "6.6"}
# What pages are used for, as the declaration's notes name the views.
VIEWS = {
    "cache": "page cache and anonymous pages", "pool": "page_pool of the network stack",
    "slab": "a slab of SLUB", "tail": "tail pages of a compound page",
    "tail2": "the second tail page", "table": "page table pages", "device": "ZONE_DEVICE pages",
    "buddy": "a free block of the page allocator",
}  # fmt: skip
# Switches that make a spinlock larger than a pointer; a page then has one's address, not the lock
# (ALLOC_SPLIT_PTLOCKS).
LARGE_SPINLOCKS = ("CONFIG_PREEMPT_RT", "CONFIG_DEBUG_SPINLOCK", "CONFIG_DEBUG_LOCK_ALLOC")
# Views that became a structure of their own, which lies over the page.
OWN_STRUCTURE = {"slab": "slab", "table": "ptdesc"}


def conditions(version: str, word: int, config: Mapping[str, str]) -> Callable[[str], bool]:
    """A function that says whether a condition of a line holds for a kernel."""
    large = any(config.get(symbol) == "y" for symbol in LARGE_SPINLOCKS)
    config = {**config, "CONFIG_LARGE_SPINLOCK": "y" if large else "n"}

    def holds(condition: str) -> bool:
        negated = condition.startswith("!")
        condition = condition.removeprefix("!")
        if condition.startswith(">="):
            return has_since(version, condition[2:]) != negated
        if condition.startswith("<"):
            return has_since(version, condition[1:]) == negated
        if condition in ("32", "64"):
            return (word * 8 == int(condition)) != negated
        return (config.get(f"CONFIG_{condition}", "n") not in ("n", "")) != negated

    return holds


def alignment(word: int, config: Mapping[str, str]) -> int:
    """The least alignment of struct page in bytes: two words where SLUB changes two at once
    (CONFIG_HAVE_ALIGNED_STRUCT_PAGE; on these architectures with SLUB).
    """
    aligned = config.get("CONFIG_HAVE_ALIGNED_STRUCT_PAGE")
    if aligned is None:
        return 2 * word if word == 8 else word
    return 2 * word if aligned == "y" else word


def structure(name: str, version: str, word: int, config: Mapping[str, str]) -> Structure:
    """The layout of `struct page`, `slab` or `ptdesc`; `word`: bytes of a pointer.

    Raises ValueError for a structure that the release does not have.
    """
    if name not in DECLARATIONS or not has_since(version, SINCE[name]):
        raise ValueError(f"Linux {version} has no struct {name} that is declared here")
    lines = select(DECLARATIONS[name], conditions(version, word, config))
    align = alignment(word, config) if name == "page" else 0
    compiler = Compiler(word)
    if name == "folio":
        page = structure("page", version, word, config)
        compiler.sizes["struct page"] = (page.size, page.align)
    return compiler.structure(name, "struct", lines, align)
