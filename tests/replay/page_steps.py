"""What one machine does to its pages, as events that another one replays."""

import numpy as np

from mmtwin.recordings.event import CONSTANTS, EVENT

KINDS = {
    "mm_page_alloc": "DEMAND", "mm_page_free": "DEMAND",
    "mm_page_alloc_zone_locked": "RESPONSE", "mm_page_pcpu_drain": "RESPONSE",
}  # fmt: skip


def traced(k, call, *arguments):
    """What a call on a machine returns, and the steps of it that kmem events tell of."""
    with k.trace:
        result = call(*arguments)
    return result, [step for step in k.trace.read() if step[0] in KINDS]


def recorded(steps, time=0):
    """Steps as the events of that moment."""
    events = np.zeros(len(steps), dtype=EVENT)
    events["cache"] = -1
    events["time"] = time
    for event, (name, cpu, _depth, args) in zip(events, steps, strict=True):
        event["kind"] = CONSTANTS["KIND_" + name.upper()]
        event["role"] = CONSTANTS["ROLE_" + KINDS[name]]
        event["cpu"], event["address"], event["order"] = cpu, args[0], args[1]
        event["pid"] = 7  # not idle: that adds up the counters
        if name == "mm_page_alloc":
            event["gfp"] = args[2]
    for number in range(len(steps) - 1):
        if steps[number][0] == "mm_page_alloc_zone_locked":
            events[number]["ahead"] = steps[number + 1][0] == "mm_page_alloc"
    return events
