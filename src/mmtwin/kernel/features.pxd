# What a kernel of a version and configuration has: the kernel floor asks these, never for a
# version number. Values, commits and releases: versions/features.py (a row for each field, same
# order of sections).
from mmtwin.kernel.structs cimport s32

cdef struct features_t:
    # page allocator
    s32 pcp_max_order             # highest order on per-CPU lists (0 before 5.14, then 3)
    s32 pcp_thp_lists             # per-CPU lists of huge blocks: none, 1, movable or not, by type
    s32 pcp_high_from_watermark   # pcp->high is a share of the low watermark, not 6 batches
    s32 pcp_batch_scale           # batches double at most so often (CONFIG_PCP_BATCH_SCALE_MAX)
    s32 pcp_drains_whole_lists    # a drain empties list after list, the freed page's first
    s32 pcp_free_factor           # frees without allocations drain twice as much each time
    s32 pcp_free_high             # a free of order 1 to 3 may drain a list set that only frees
    s32 pcp_auto_tune             # pcp->high moves between high_min and high_max
    s32 pcp_free_high_late        # ... free_count must exceed batch + high_min / 2 for that
    s32 pcp_frees_in_batches      # a drain on free goes in steps of a batch
    s32 pcp_drain_in_batches      # drain_pages_zone() goes in steps of batch << pcp_batch_scale
    s32 pcp_no_highatomic_refill  # an empty list is not filled for ALLOC_HIGHATOMIC
    s32 buddy_after_pcp           # rmqueue_buddy() is tried when the per-CPU list stays empty
    s32 freelist_hygiene          # a free block lies on the list of its pageblock's migratetype
    s32 merge_checks_mergeable    # pageblocks that are no fallbacks (CMA, highatomic) stay
    s32 zone_locked_by_smallest   # mm_page_alloc_zone_locked names the list's migratetype
    s32 fallback_claims           # fallback: claim a pageblock, or steal one small block
    s32 nofragment_low_orders     # ALLOC_NOFRAGMENT limits orders below pageblock_order only
    s32 non_block_reserves        # no __GFP_DIRECT_RECLAIM (not __GFP_ATOMIC) opens the reserves
    s32 highatomic_last_resort    # ... and the high-atomic reserve at last, for order 0
    s32 highatomic_one_percent    # no high-atomic reserve where 1% is less than a pageblock
    s32 highatomic_first          # the fast path may use the high-atomic reserve
    s32 watermark_free_highatomic  # only free high-atomic pages are out of reach
    s32 watermark_min_reserve     # boosts are ignored for ALLOC_MIN_RESERVE, not for __GFP_ATOMIC
    s32 movable_not_lowmem        # ZONE_MOVABLE has no part in min_free_kbytes
    s32 node_load_adds            # build_zonelists() counts a node's load up
    s32 exact_to_tail             # alloc_pages_exact() frees its rest to the lists' tails
    s32 vmalloc_bulk              # vmalloc takes order-0 pages in bulk, without events
    s32 vfree_contig              # vfree frees runs of pages as blocks
    s32 compact_singles           # compaction splits the free blocks that it takes at once
    s32 numa                      # CONFIG_NUMA
    s32 zone_dma                  # CONFIG_ZONE_DMA
    s32 zone_dma32                # CONFIG_ZONE_DMA32
    s32 shuffle                   # page_alloc.shuffle=1: largest blocks go to a random end
    # slub
    s32 cpu_partial_counts_slabs  # a CPU partial list is bounded by slabs, not objects
    s32 slub_cpu_slabs            # CPUs own slabs
    s32 slub_cpu_partial          # CPUs keep partial slabs
    s32 slub_splices_freelist     # deactivate_slab() keeps the order of the CPU's objects
    s32 slub_delayed_freezing     # slabs on CPU partial lists are not frozen
    s32 slub_tries_node_first     # a preferred node is tried alone before any other
    s32 slub_bulk_swaps           # a bulk free swaps the freed objects out of its array
    s32 maple_bulk                # requests for maple nodes are for the worst case, in bulk
    s32 debug_alloc_single        # debug caches: one object at a time, under the node's lock
    s32 sheaves                   # per-CPU sheaves: 1 for caches that ask for them, 2 for all
    s32 slub_present_cpus         # calculate_order() counts present CPUs, if more than one
    s32 slub_order_by_waste       # calculate_order() accepts more waste, not fewer objects
    s32 slab_always_compound      # order-0 slabs are asked for with __GFP_COMP too
    s32 track_bytes               # sizeof(struct track): stack traces moved to the stack depot
    s32 orig_size_bytes           # SLAB_STORE_USER keeps the size asked of kmalloc
    s32 orig_size_moves_freeptr   # ... and red zones then push the free pointer out
    s32 freeptr_with_ctor         # a cache with a constructor may place its free pointer
    s32 freelist_hardened         # free pointers are encoded
    s32 freelist_random           # new slabs are shuffled
    s32 init_on_alloc             # objects are zeroed when allocated (init_on_alloc=)
    s32 init_on_free              # objects are zeroed when freed (init_on_free=)
    s32 slab_merge                # caches are merged (slab_nomerge)
    s32 slub_debug_flags          # SLAB_* that slub_debug= sets on every cache
    s32 slub_info_prefix          # lines of a debug cache's report begin with INFO:
    s32 slub_fix_names            # FIX lines name what they restore
    s32 slub_taints_late          # the kernel is tainted when a report is printed, not at its head
    s32 slub_shows_pointers       # slub_debug= prints pointers as they are, not hashed
    s32 slub_checks_all           # an object's check goes on after the first error
    s32 slub_warns                # a report ends in a WARN
    s32 slub_counts_remaining     # KUnit counts each object that remains in a destroyed cache
    s32 slub_finds_cycles         # a free list that leads back into itself is found
    s32 slub_disables_slabs       # a slab that failed a check is not used again
    s32 slub_frees_single         # a single free does not clear the free pointer before the checks
    s32 slub_traces_debugfs       # alloc_traces, free_traces of debugfs, not alloc_calls of sysfs
    s32 slub_krealloc_redzone     # krealloc() keeps the size asked for, and red zones behind it
    s32 kfree_pages               # pages of no slab: 0 compound, 1 any, 2 marked, 3 head pages
    s32 slub_min_order            # slub_min_order=
    s32 slub_max_order            # slub_max_order=, PAGE_ALLOC_COSTLY_ORDER
    s32 slub_min_objects          # slub_min_objects=, 0: by the number of CPUs
    s32 usercopy_unmergeable      # caches with a usercopy region are not merged
    s32 tid_step                  # what an operation adds to kmem_cache_cpu.tid
    s32 cache_line                # cache_line_size() in bytes
    s32 slab_minalign             # ARCH_SLAB_MINALIGN in bytes
    s32 kmalloc_minalign          # ARCH_KMALLOC_MINALIGN in bytes, the smallest kmalloc cache
    s32 kmalloc_dma_align         # what kmalloc aligns to at run time, if more (bytes)
    s32 kmalloc_cgroup            # there are kmalloc caches for accounted objects
    s32 kmalloc_cgroup_last       # ... which are created after those for DMA
    s32 memcg_kmem                # ... of their own; 0: the normal ones (cgroup.memory=nokmem)
    s32 kmalloc_unmergeable       # kmalloc-* merge with no other; 1: unless without memcg_kmem
    s32 kmalloc_dma_last          # those for DMA are created at the end, by index
    s32 kmalloc_random            # more sets of kmalloc caches, chosen by call site
    s32 kmalloc_buckets           # sets of kmalloc caches of their own (kmem_buckets_create())
    s32 kmalloc_no_objext         # a set of kmalloc caches without object extensions
    s32 kmalloc_divisor_align     # kmalloc aligns to the largest power of two in the size
    s32 kmalloc_odd_first         # kmalloc-96, -192 are created before the powers of two
    s32 kmalloc_large_told_twice  # __kmalloc() of whole pages is traced twice
    # tasks and kernel stacks
    s32 thread_size               # THREAD_SIZE in bytes
    s32 thread_align              # THREAD_ALIGN in bytes
    s32 vmap_stack                # stacks are mapped virtually, two freed ones kept by each CPU
    s32 stack_freed_by_rcu        # a stack that no CPU keeps is freed after a grace period
    s32 stack_put_with_task       # a dead task's stack goes with its task_struct, not at once
    s32 stack_counted_to_exit     # do_exit() takes a stack out of KernelStack, not its free
    s32 sched_stack_end_check     # schedule() looks at the magic at a stack's end
    s32 stack_guard_named         # x86: the overflow's message says which stack it was
    s32 stack_top_padding         # x86: bytes above the registers
    s32 pt_regs_bytes             # sizeof(struct pt_regs)
    s32 delay_accounting          # every task has a struct task_delay_info
    s32 kthread_in_fork           # copy_process() allocates struct kthread, not the new thread
    s32 kthread_bytes             # sizeof(struct kthread)
    s32 lsm_cred_bytes            # what security modules keep for each struct cred
    s32 lsm_task_bytes            # what security modules keep for each task
    s32 pgd_order                 # order of a process's top page table
    # the functions on a stack
    s32 alloc_pages_entry         # the page allocator's first function, by number
    s32 pcp_refill_function       # where per-CPU lists are filled, by number
    s32 free_pages_entry          # the functions that a page is freed by, by number
    s32 free_unref_folios         # lists of pages are freed as folios
    # vmalloc
    s32 vmap_lazy_merges          # freed areas that touch wait as one, in order of address
    s32 vmap_nodes                # CPUs have vmap nodes with pools of freed areas
    s32 vmap_purge_work           # a worker purges, not the one who frees
    s32 vmap_exact_alignment      # searches do not allow for alignments up to a page
    s32 vm_struct_bytes           # sizeof(struct vm_struct)
    s32 vmalloc_rounds_size       # whole pages are compared with the machine's memory
    s32 huge_vmalloc              # CONFIG_HAVE_ARCH_HUGE_VMALLOC, for those who ask for it
    s32 vmap_cont_pte             # huge mappings of contiguous PTEs, below a PMD
    s32 vmalloc_large_orders      # vmalloc first tries the largest blocks that fit
    s32 vmalloc_nonblocking       # vmalloc serves requests that must not wait
    s32 vmalloc_says_why          # complaints say what failed ("vmalloc error: ...")
    s32 vunmap_own_words          # vunmap of nothing is not said to be a vfree
    s32 vmap_block_pages          # VMAP_BBMAP_BITS: pages of a block of vm_map_ram()
    s32 vmap_block_bytes          # sizeof(struct vmap_block)
    s32 vmap_block_threshold      # vm_unmap_aliases() purges a fragmented block if nearly full
    s32 kvmalloc_any_gfp          # kvmalloc falls back for flags other than GFP_KERNEL
    s32 kvmalloc_no_reclaim       # kvmalloc's kmalloc does not reclaim at all
    s32 pgtable_arm64             # page table entries are arm64's
    s32 pud_preallocated          # tables below the top level exist since boot
    s32 kernel_pmd_counted        # NR_PAGETABLE counts the kernel's PMD tables
    s32 kernel_pud_counted        # NR_PAGETABLE counts PUD tables
    s32 kernel_pte_counted        # NR_PAGETABLE counts the kernel's PTE tables
    # kmemleak
    s32 kmemleak_object_bytes     # sizeof(struct kmemleak_object)
    s32 kmemleak_phys             # physical addresses have a tree of their own
    s32 kmemleak_age              # a report says how old an object is
    s32 kmemleak_crc              # a report says the object's checksum
    s32 kmemleak_pointers         # a report has hashed pointers before the symbols
    s32 kmemleak_types            # texts name the kind of object; dump= looks inside objects
    s32 kmemleak_first_crc        # a new object's checksum is none: it counts as modified
    s32 kmemleak_confirms         # a scan that finds leaks is done twice
    s32 kmemleak_color_warns      # colouring an unknown object is complained of
    # kasan
    s32 kasan                     # generic KASAN checks every access
    s32 kasan_stack               # red zones around automatic variables
    s32 kasan_vmalloc             # the vmalloc area has shadow pages of its own
    s32 kasan_populates_in_bulk   # shadow pages of the vmalloc area are taken by the hundreds
    s32 kasan_track_bytes         # sizeof(struct kasan_track)
    s32 kasan_meta_or_nothing     # a cache whose metadata does not fit is not checked at all
    s32 kasan_splits_free_meta    # a small object holds the start of its struct kasan_free_meta
    s32 kasan_keeps_free_track    # who freed an object is known after it left the quarantine too
    s32 kasan_checks_byte         # krealloc() fails on a freed object; large ones freed twice
    s32 kasan_ksize_unpoisons     # ksize() makes the whole object accessible
    s32 kasan_quarantines_rcu     # SLAB_TYPESAFE_BY_RCU objects wait in the quarantine
    s32 kasan_quarantine_batches  # QUARANTINE_BATCHES
    s32 kasan_quarantine_exact    # objects of a removed cache no longer count as quarantined
    s32 kasan_names_double_free   # "double-free" and "invalid-free" are two kinds of report
    s32 kasan_prints_free_addr    # ... which name the address
    s32 kasan_report_blocks       # parts of a report are set apart by empty lines
    s32 kasan_infers_size         # the size asked for is read from the shadow
    s32 dump_page_snapshot        # dump_page() names no addresses, and all counts of a folio
    s32 dump_stack_uid            # "CPU: 0 UID: 0 PID: 1", taints on their own line
    # trees of areas
    s32 maple_tree                # areas are in a maple tree, not in a list and a red-black tree
    s32 maple_slot_store_full     # a leaf that is nearly full may change in place
    s32 munmap_counts_detached    # munmap() collects areas by their count, not their address
    s32 maple_frees_from_top      # replaced nodes go from the top down, not from the leaf up
    s32 maple_store_type          # stores ask for the nodes that their kind may need, beforehand
    s32 maple_dup                 # fork copies the tree node by node, not entry by entry
    s32 maple_converges           # a rebalance ends where one node takes one's place
    s32 maple_counts_vacant       # full nodes decide how many nodes a store may need
    s32 maple_sheaves             # several nodes come in a prefilled sheaf
    s32 maple_copy                # stores into several nodes share entries out level by level
    s32 unmapped_min_addr         # no area is placed below vm.mmap_min_addr
    # areas
    s32 mmap_merge                # how mmap() merges: see versions/features_vma.py
    s32 vma_anon_name             # anonymous areas may have names (PR_SET_VMA_ANON_NAME)
    s32 vma_close_merges          # vm_ops->close only keeps an area from being merged away
    s32 vma_merge_anon            # whose anon_vma must be its own: see the same
    s32 vma_sticky                # VM_SOFTDIRTY of one merged area is all's
    s32 vma_anon_pgoff            # private file areas merge only if their anonymous offsets meet
    s32 mmap_unmaps_late          # MAP_FIXED unmaps what is there after the limits were checked
    s32 special_no_split          # special mappings are never split
    s32 special_no_lock           # special mappings are not locked by MCL_FUTURE
    s32 brk_expands               # brk() only expands the heap's own area; it does not merge
    s32 mprotect_unaccounts       # untouched memory that is no more writable is not accounted
    s32 mremap_move_charges       # move_vma() charges, not vma_to_resize()
    s32 mremap_dontunmap_any      # MREMAP_DONTUNMAP of any area, not only anonymous ones
    s32 mremap_finds_first        # an mremap() of nothing is -EFAULT, before it unmaps
    s32 mremap_merges             # mremap() merges an area that it expanded with the next
    s32 mremap_checks_first       # mremap() checks all its parameters before it unmaps
    s32 mremap_multi              # a move may be of several areas
    s32 mremap_counts_splits      # the areas that a move makes must not exceed max_map_count
    s32 unmapped_area_x86         # x86's arch_get_unmapped_area() and mmap_base()
    s32 map_above4g               # MAP_ABOVE4G
    s32 thp_unmapped_file         # thp_get_unmapped_area() aligns more than DAX files
    s32 thp_unmapped_anon         # anonymous areas are placed for huge pages: see the same
    s32 thp_unmapped_topdown      # ... at the upper end of the gap, if both fit
    s32 map_stack_nohuge          # MAP_STACK sets VM_NOHUGEPAGE
    s32 map_droppable             # MAP_DROPPABLE
    s32 map_denywrite             # exec maps with MAP_DENYWRITE
    s32 mseal                     # mseal()
    s32 madv_populate             # MADV_POPULATE_READ, MADV_POPULATE_WRITE
    s32 madv_dontneed_locked      # MADV_DONTNEED_LOCKED
    s32 madv_collapse             # MADV_COLLAPSE
    s32 madv_guard                # MADV_GUARD_INSTALL: 1 anonymous writable areas, 2 files too
    s32 madv_remove_may           # MADV_REMOVE asks for VM_MAYWRITE, not VM_WRITE
    s32 madv_dofork_special       # MADV_DOFORK refuses all special areas
    s32 madv_ksm                  # CONFIG_KSM
    s32 madv_thp                  # CONFIG_TRANSPARENT_HUGEPAGE
    s32 soft_dirty                # CONFIG_MEM_SOFT_DIRTY: areas have VM_SOFTDIRTY
    s32 mmap_min_addr             # vm.mmap_min_addr at boot
    # memory: page tables and faults of processes
    s32 pte_soft_dirty            # entries have a soft-dirty bit (CONFIG_MEM_SOFT_DIRTY, x86)
    s32 pgtable_table_pxn         # arm64: entries that lead to tables of users say PXN
    s32 old_prefaulted_pte        # pages mapped around a fault are not young
    s32 rss_split                 # tasks count faults of their own before the mm does
    s32 shared_fault_retry        # a write fault that dirties a shared page is taken twice
    s32 rss_sum_shown             # /proc sums what CPUs hold of rss_stat
    s32 rss_batched_map           # a fault-around counts its pages at once
    s32 user_gfp_comp             # user pages are folios: __GFP_COMP
    s32 wp_reuse                  # 0: one reference; 1: once batches are drained; 2: AnonExclusive
    s32 thp_enabled               # transparent_hugepage/enabled at boot: 1 madvise, 2 always
    s32 lru_batch                 # pages of a pagevec or folio batch
    s32 frees_in_order          # freed pages go in order of their batch, not backwards
    s32 gather_pairs              # mmu_gather keeps a place for the number of pages
    s32 table_free_rcu            # page tables are freed by RCU
    s32 lru_fault_referenced      # pages that a fault brings are referenced (MGLRU)
    s32 reclaim_pt                # MADV_DONTNEED frees page tables that it emptied
    # exec
    s32 elf_load                  # each segment's bss is mapped with it, not the last one's alone
    s32 elf_load_interp           # ... the interpreter's too
    s32 elf_total_minmax          # total_mapping_size() sorts segments itself
    s32 elf_noreplace             # the first segment does not replace what is mapped
    s32 elf_align_static_pie      # a static PIE lies as its segments' p_align asks
    s32 elf_brk_gap               # a page is left free before a random brk
    s32 elf_brk_static_pie        # brk of a static PIE moves to ELF_ET_DYN_BASE unrandomized
    s32 elf_phdrs_one_page        # program headers may take no more than a page
    s32 elf_padzero_errors        # a bss that cannot be zeroed stops exec where it is writable
    s32 brk_random_mib            # MiB that a random brk is drawn from
    s32 mmap_rnd_bits             # bits of a random mmap base (CONFIG_ARCH_MMAP_RND_BITS)
    s32 vdso_above_stack          # the vDSO is put above the stack if it can be
    s32 vdso_pages                # pages of the vDSO's text
    s32 vvar_pages                # pages of the vDSO's data, but for vvar_vclock_pages
    s32 vvar_vclock_pages         # pages of [vvar_vclock]
    s32 vvar_io                   # [vvar] is VM_IO and VM_DONTDUMP
    s32 vvar_mixedmap             # [vvar] is VM_MIXEDMAP, not VM_PFNMAP and VM_IO
    s32 sealed_sysmap             # the vDSO's areas are sealed
    s32 auxv_minsigstksz          # AT_MINSIGSTKSZ
    s32 auxv_rseq                 # AT_RSEQ_FEATURE_SIZE and AT_RSEQ_ALIGN
    s32 auxv_hwcap3               # AT_HWCAP3
