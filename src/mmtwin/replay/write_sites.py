"""Who allocates the buffer of a write to a file that makes the kernel do something at once."""

import re

from mmtwin.recordings.annotate import Annotated

# What is written to /proc/sys is copied first: since 32927393dc1c (5.8).
WRITERS = re.compile(r"proc_sys_call_handler(\.\w+)*")


def write_sites(annotated: Annotated) -> list[int]:
    """Call sites of the kmalloc of a write's buffer, by the recording's symbols."""
    sites = {int(site["call_site"]) for site in annotated.sites.records()}
    names = {site: annotated.recording.symbols.find(site) for site in sites}
    return sorted(site for site, found in names.items() if found and WRITERS.fullmatch(found[0]))
