"""Areas taken on trial."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from mmtwin.kernel.vmalloc_validate import space_problems
from mmtwin.kernel.vmap_resync import Trial
from mmtwin.kernel.vmap_space import Vmap

PAGE = 4096
START, END = 0xFFFFC90000000000, 0xFFFFE8FFFFFFFFFF
SIZES = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([1, 4, 16])), max_size=20)


def space(nodes: int) -> Vmap:
    has = SimpleNamespace(
        vmap_lazy_merges=0, vmap_nodes=nodes, vmap_purge_work=1, vmap_exact_alignment=1
    )
    vmap = Vmap(START, END, 12, 2, has)
    vmap.init_free_space()
    return vmap


def shape(area):
    """A tree of free ranges as nested tuples."""
    if area is None:
        return None
    return area.start, area.end, area.largest, area.red, shape(area.left), shape(area.right)


def state(vmap: Vmap):
    pools = [{size: list(pool) for size, pool in node.pool.items()} for node in vmap.nodes]
    return shape(vmap.free.tree.root), [*vmap.free], [*vmap.busy()], pools, len(vmap.free)


@given(st.integers(0, 1), SIZES, st.sets(st.integers(0, 19)), SIZES)
def test_a_trial_leaves_nothing_behind(nodes: int, before, given_up: set[int], tried) -> None:
    vmap = space(nodes)
    areas = [vmap.alloc(pages * PAGE, align * PAGE, START, END) for pages, align in before]
    for number in given_up & set(range(len(areas))):
        vmap.find_unlink(areas[number].start)
        vmap.free_noflush(areas[number])
    vmap.purge(full=False)
    old = state(vmap)
    trial = Trial(vmap)
    there = []
    for pages, align in tried:
        assert trial.alloc(pages * PAGE, align * PAGE, START, END)
        there.append(trial.taken[-1].start)
    trial.give_up()
    assert state(vmap) == old
    assert space_problems(vmap) == []
    # what was taken for good afterwards is what was taken on trial
    for (pages, align), start in zip(tried, there, strict=True):
        assert vmap.alloc(pages * PAGE, align * PAGE, START, END).start == start


def test_no_room_is_no_area() -> None:
    vmap = space(0)
    trial = Trial(vmap)
    assert not trial.alloc(8 * PAGE, 1, START, START + 4 * PAGE)
    trial.give_up()
    assert [*vmap.busy()] == []
