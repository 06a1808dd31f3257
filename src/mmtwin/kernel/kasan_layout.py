"""What KASAN adds to objects and to stack frames, in bytes. Pure functions of numbers.

mm/kasan/generic.c: optimal_redzone(), kasan_cache_create(). Frames: what GCC does, gcc/asan.cc
asan_var_and_redzone_size().
"""

from mmtwin.kernel.slub_defs import SLAB_KASAN, SLAB_TYPESAFE_BY_RCU

AUX_STACK_BYTES = 8  # struct kasan_alloc_meta: aux_stack[2]
QLIST_NODE_BYTES = 8  # struct kasan_free_meta: quarantine_link
FRAME_REDZONE = 32  # ASAN_RED_ZONE_SIZE: before the first variable, and the alignment of a frame
ALLOCA_REDZONE = 32  # KASAN_ALLOCA_REDZONE_SIZE
VARIABLE_ALIGN = 16  # ASAN_MIN_RED_ZONE_SIZE
# object_size up to ... gets so large a red zone at least
REDZONES = (
    (64 - 16, 16), (128 - 32, 32), (512 - 64, 64), (4096 - 128, 128), ((1 << 14) - 256, 256),
    ((1 << 15) - 512, 512), ((1 << 16) - 1024, 1024),
)  # fmt: skip
LARGEST_REDZONE = 2048


def padded_global(size):
    """Bytes of a global variable with its red zone: gcc/asan.h asan_padding_size()."""
    over = size % FRAME_REDZONE
    return size + (2 * FRAME_REDZONE - over if over else FRAME_REDZONE)


def optimal_redzone(object_size):
    """optimal_redzone(): larger objects have larger red zones."""
    return next((zone for limit, zone in REDZONES if object_size <= limit), LARGEST_REDZONE)


def alloc_meta_bytes(has):
    """sizeof(struct kasan_alloc_meta)"""
    return has.kasan_track_bytes + AUX_STACK_BYTES


def free_meta_bytes(has):
    """sizeof(struct kasan_free_meta)"""
    return QLIST_NODE_BYTES + has.kasan_track_bytes


def kasan_cache_create(has, object_size, size, flags, ctor, largest):
    """kasan_cache_create(): {size, alloc_meta, free_meta, flags} of a cache.

    `size`: bytes of an object so far, to which the metadata is added; `largest`:
    KMALLOC_MAX_SIZE. Offsets are from the object; alloc_meta is 0 and free_meta None where it
    does not fit.
    """
    if has.kasan_meta_or_nothing:
        return create_or_nothing(has, object_size, size, flags, ctor, largest)
    flags |= SLAB_KASAN
    alloc_meta = size
    if size + alloc_meta_bytes(has) > largest:
        alloc_meta = 0
    else:
        size += alloc_meta_bytes(has)
    fits, own_place = size, alloc_meta
    free_meta = 0
    if flags & SLAB_TYPESAFE_BY_RCU or ctor:
        free_meta = size
        size += free_meta_bytes(has)
    elif object_size < free_meta_bytes(has):
        if has.kasan_splits_free_meta and not has.slub_debug_flags:
            rest = free_meta_bytes(has) - object_size
            size += rest
            alloc_meta += rest if alloc_meta else 0
        else:
            free_meta = size
            size += free_meta_bytes(has)
    if size > largest:
        free_meta, alloc_meta, size = None, own_place, fits
    size = max(size, min(object_size + optimal_redzone(object_size), largest))
    return {"size": size, "alloc_meta": alloc_meta, "free_meta": free_meta, "flags": flags}


def create_or_nothing(has, object_size, size, flags, ctor, largest):
    """kasan_cache_create() before 97593cad003c (5.12): all of it, or the cache is not checked."""
    alloc_meta, free_meta = size, 0
    larger = size + alloc_meta_bytes(has)
    if flags & SLAB_TYPESAFE_BY_RCU or ctor or object_size < free_meta_bytes(has):
        free_meta = larger
        larger += free_meta_bytes(has)
    larger = min(largest, max(larger, object_size + optimal_redzone(object_size)))
    if larger <= alloc_meta or larger <= free_meta:
        return {"size": size, "alloc_meta": 0, "free_meta": None, "flags": flags}
    return {
        "size": larger,
        "alloc_meta": alloc_meta,
        "free_meta": free_meta,
        "flags": flags | SLAB_KASAN,
    }


def variable_bytes(size):
    """asan_var_and_redzone_size(): a variable with the red zone behind it."""
    if size <= 4:
        return 16
    if size <= 16:
        return 32
    zones = ((128, 32), (512, 64), (4096, 128))
    return size + next((zone for limit, zone in zones if size <= limit), 256)


def frame_layout(variables):
    """The part of a stack frame that holds the checked variables: (its bytes, [(name, offset,
    bytes)]).

    `variables`: (name, bytes). A red zone of 32 bytes, then each variable with its own, rounded
    up to 32 at last.
    """
    offset, places = FRAME_REDZONE, []
    for name, size in variables:
        places.append((name, offset, size))
        offset = -(-(offset + variable_bytes(size)) // VARIABLE_ALIGN) * VARIABLE_ALIGN
    return -(-offset // FRAME_REDZONE) * FRAME_REDZONE, places
