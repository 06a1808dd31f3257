"""Policies that a researcher may swap: slots of `mm.policy`, each a Python function or a C one.

A slot that is not filled follows the kernel. A C function comes as a ctypes function pointer. All
but `fallback` are asked when a cache or a zone is set up, never for an object or a page. Slots:

- `calculate_order(has, size, page_size, nr_orders, present_cpus, cpu_ids)`: the order of a new
  cache's slabs for objects of `size` bytes, -1 for none (mm/slub.c calculate_order()). In C:
  `int f(unsigned size, unsigned page_size, int nr_orders, int cpus)`.
- `kmalloc_classes(sizes, page_size)`: the sizes of kmalloc's caches in bytes, given the kernel's
  own; multiples of 8, at most 31, the largest KMALLOC_MAX_CACHE_SIZE (kmalloc_info[]). Only when
  a machine boots; Python only.
- `fallback(start_type, place)`: the migratetype whose blocks are tried as the place'th (from 0)
  where `start_type` has none, -1 for no more (fallbacks[] of mm/page_alloc.c). In C:
  `int f(int start_type, int place)`, called without the GIL.
- `pcp_high_and_batch(managed_pages, batch, high_min, high_max)`: (batch, high_min, high_max) of a
  zone's per-CPU lists, given the kernel's own (zone_set_pageset_high_and_batch()). Python only.
- `cpu_partial(size, objects, limit)`: how many free objects CPU partial lists of a cache may hold,
  given the kernel's own limit (set_cpu_partial()); `objects` of a slab. In C:
  `int f(unsigned size, unsigned objects, unsigned limit)`.
- `min_partial(size, limit)`: how many empty slabs a node keeps (set_min_partial()). In C:
  `int f(unsigned size, unsigned limit)`.
"""

import ctypes

SLOTS = (
    "calculate_order", "kmalloc_classes", "fallback", "pcp_high_and_batch", "cpu_partial",
    "min_partial",
)
# other keys of mm.policy: the C function that asks, and why the first answer was none
KEPT, FAILED = "_fallback", "_failed"
AT_BOOT = ("kmalloc_classes",)
PYTHON_ONLY = ("kmalloc_classes", "pcp_high_and_batch")
FALLBACK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)
MOST_CLASSES = 31  # of KMALLOC_INDEXES places one is for size 0
CLASS_STEP = 8
C_FUNCTION = ctypes._CFuncPtr
MOST = 1 << 20  # that a limit may be


def install(mm, slot, function, booting=False):
    """Fills a slot; `function` None empties it. Caches and zones that are there stay as they are.

    Raises ValueError for a slot that there is not, that only a booting machine takes, or that
    takes no such function.
    """
    if slot not in SLOTS:
        raise ValueError(f"no policy {slot!r}; there are: {', '.join(SLOTS)}")
    if slot in AT_BOOT and not booting:
        raise ValueError(f"policy {slot}: it must be there when the machine boots")
    if function is not None and not callable(function):
        raise ValueError(f"policy {slot}: not a function: {function!r}")
    if slot in PYTHON_ONLY and isinstance(function, C_FUNCTION):
        raise ValueError(f"policy {slot}: it takes a Python function")
    mm.policy.pop(slot, None)
    if function is not None:
        mm.policy[slot] = function
    if slot == "fallback":
        mm.policy.pop(KEPT, None)
        mm.fallback_policy = 0
        if function is not None:
            mm.policy[KEPT] = kept = c_fallback(mm, function)
            mm.fallback_policy = ctypes.cast(kept, ctypes.c_void_p).value


def c_fallback(mm, function):
    """The slot fallback as a C function. What it raises cannot go through C: it is complained of
    once (`mm.policy[FAILED]`), and there is no fallback then.
    """
    if isinstance(function, C_FUNCTION):
        return function

    def asked(start_type, place):
        try:
            return whole("fallback", function(start_type, place), -1, 1 << 8)
        except Exception as error:
            mm.policy.setdefault(FAILED, f"policy fallback: {error}")
            return -1

    return FALLBACK(asked)


def ask(mm, slot, *numbers):
    """What a slot's function says. Raises ValueError where it fails."""
    try:
        return mm.policy[slot](*numbers)
    except Exception as error:
        raise ValueError(f"policy {slot}: {error!r}") from error


def whole(slot, value, least, most):
    """A policy's answer as an int. Raises ValueError unless it is a whole number in a range."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = least - 1
    if isinstance(value, float) or not least <= number <= most:
        raise ValueError(f"policy {slot}: {value!r} is no number from {least} to {most}")
    return number


def order_of(mm, size, rule):
    """What the slot calculate_order says for objects of `size` bytes; `rule`: the kernel's."""
    has, page_size = mm.view("has")[0], 1 << mm.page_shift
    nr_orders, cpus = mm.nr_orders, mm.nr_cpus
    choose = mm.policy.get("calculate_order")
    if choose is None:
        return rule(has, size, page_size, nr_orders, cpus, cpus)
    if isinstance(choose, C_FUNCTION):
        order = ask(mm, "calculate_order", size, page_size, nr_orders, cpus)
    else:
        order = ask(mm, "calculate_order", has, size, page_size, nr_orders, cpus, cpus)
    order = whole("calculate_order", order, -1, nr_orders - 1)
    if order >= 0 and page_size << order < size:
        raise ValueError(f"policy calculate_order: order {order} holds no object of {size} bytes")
    return order


def limit_of(mm, slot, *numbers):
    """What a slot of limits says; the last of the numbers, the kernel's own, if it is empty."""
    if slot not in mm.policy:
        return numbers[-1]
    return whole(slot, ask(mm, slot, *numbers), 0, MOST)


def pageset_of(mm, managed_pages, batch, high_min, high_max):
    """(batch, high_min, high_max) of a zone's per-CPU lists as the slot says."""
    if "pcp_high_and_batch" not in mm.policy:
        return batch, high_min, high_max
    said = ask(mm, "pcp_high_and_batch", managed_pages, batch, high_min, high_max)
    if not isinstance(said, tuple) or len(said) != 3:
        raise ValueError(f"policy pcp_high_and_batch: {said!r} is not (batch, high_min, high_max)")
    return tuple(whole("pcp_high_and_batch", each, 1, MOST) for each in said)


def classes_of(mm, sizes):
    """The sizes of kmalloc caches that the slot kmalloc_classes says, ascending; None if it is
    empty. `sizes`: the kernel's own, ascending.
    """
    if "kmalloc_classes" not in mm.policy:
        return None
    said = ask(mm, "kmalloc_classes", list(sizes), 1 << mm.page_shift)
    said = sorted({whole("kmalloc_classes", size, CLASS_STEP, sizes[-1]) for size in said})
    wrong = [size for size in said if size % CLASS_STEP]
    if wrong or not said or said[-1] != sizes[-1] or len(said) > MOST_CLASSES:
        raise ValueError(
            f"policy kmalloc_classes: at most {MOST_CLASSES} multiples of {CLASS_STEP} up to "
            f"{sizes[-1]}, which must be among them; not {said}"
        )
    return said
