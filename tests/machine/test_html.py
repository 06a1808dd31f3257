"""What notebooks show of a machine."""

from xml.etree import ElementTree

from mmtwin.machine import Machine


def cells(markup: str) -> list[str]:
    return [text.strip() for text in ElementTree.fromstring(markup).itertext()]


def test_objects_are_tables() -> None:
    machine = Machine.boot("x86_64-6.1", memory="64M")
    page = machine.page(machine.virt_to_pfn(machine.kmalloc(100)))
    assert {"slab", "kmalloc-128", "objects", "32"} <= set(cells(page._repr_html_()))
    assert {"oo_objects", "128"} <= set(cells(machine.cache("kmalloc-128")._repr_html_()))
    assert {"DMA32", "pages free"} <= set(cells(machine._repr_html_()))
    task = machine.fork("a <b>")
    assert task is not None
    assert f"Task {task.pid} a <b>" in cells(task._repr_html_())
