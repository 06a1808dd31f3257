"""Policies that a researcher may swap: slots of `mm.policy`, each a Python function or a C one.

A slot that is not filled follows the kernel. A C function comes as a ctypes function pointer. All
of them are asked when a cache or a zone is set up, never for an object or a page. Slots:

- `calculate_order(has, size, page_size, nr_orders, present_cpus, cpu_ids)`: the order of a new
  cache's slabs for objects of `size` bytes, -1 for none (mm/slub.c calculate_order()). In C:
  `int f(unsigned size, unsigned page_size, int nr_orders, int cpus)`.
- `pcp_high_and_batch(managed_pages, batch, high_min, high_max)`: (batch, high_min, high_max) of a
  zone's per-CPU lists, given the kernel's own (zone_set_pageset_high_and_batch()). Python only.
- `cpu_partial(size, objects, limit)`: how many free objects CPU partial lists of a cache may hold,
  given the kernel's own limit (set_cpu_partial()); `objects` of a slab. In C:
  `int f(unsigned size, unsigned objects, unsigned limit)`.
- `min_partial(size, limit)`: how many empty slabs a node keeps (set_min_partial()). In C:
  `int f(unsigned size, unsigned limit)`.
"""

import ctypes

SLOTS = ("calculate_order", "pcp_high_and_batch", "cpu_partial", "min_partial")
PYTHON_ONLY = ("pcp_high_and_batch",)
C_FUNCTION = ctypes._CFuncPtr
MOST = 1 << 20  # that a limit may be


def install(mm, slot, function):
    """Fills a slot; `function` None empties it. Caches and zones that are there stay as they are.

    Raises ValueError for a slot that there is not, or that takes no such function.
    """
    if slot not in SLOTS:
        raise ValueError(f"no policy {slot!r}; there are: {', '.join(SLOTS)}")
    if function is not None and not callable(function):
        raise ValueError(f"policy {slot}: not a function: {function!r}")
    if slot in PYTHON_ONLY and isinstance(function, C_FUNCTION):
        raise ValueError(f"policy {slot}: it takes a Python function")
    mm.policy.pop(slot, None)
    if function is not None:
        mm.policy[slot] = function


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
