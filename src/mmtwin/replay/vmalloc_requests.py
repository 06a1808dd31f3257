"""Which area of vmalloc space a vm_struct is for, where the kernel has no events of vmalloc.

The array of pages tells a size. What has none (ioremap, vmap), and what events missed, is learnt
from the first snapshot that shows areas: a request gets what the twin would choose for it there.
"""

from mmtwin.kernel.vmap_resync import Trial
from mmtwin.kernel.vmap_space import Vmap
from mmtwin.procfs.vmallocinfo import VmallocArea
from mmtwin.replay.vmalloc_events import ASKED, Step
from mmtwin.versions.address_space import AddressSpace

POINTER = 8  # bytes
MOST_HIDDEN = 32  # areas in a row that no event told of
AHEAD = (10, 40)  # requests looked at behind one, the more the less it is decided
Request = tuple[int, int, int, int]  # size, alignment, range: bytes and addresses
Row = tuple[int, int]  # first address, address behind the last
Choice = tuple[tuple[Row, ...], Request]  # areas taken before a request, and the request


class Use:
    """What an area is for, as far as events tell: `pages` of its own (None: it has none, or none
    yet), the address of its vm_struct; `row`: as the newest snapshot showed it.
    """

    def __init__(self, pages: int | None = None, object: int = 0) -> None:
        self.pages = pages
        self.object = object
        self.row: VmallocArea | None = None


class Requests:
    """Guesses what each request asks for.

    `map`: the twin's vmalloc space; `stack`: bytes of a stack's area, `stack_align` what it is
    aligned to; `unseen`: areas of the first snapshot that no request took yet.
    """

    def __init__(
        self, map: Vmap, space: AddressSpace, stack: int, stack_align: int,
        unseen: dict[Row, VmallocArea],
    ) -> None:  # fmt: skip
        self.map = map
        self.space = space
        self.page_size: int = map.page_size
        self.stack = stack
        self.stack_align = stack_align
        self.unseen = unseen
        self.looked_at: list[Step] = []
        self.alive: set[int] = set()  # places in them
        self.newest_stack: int = map.start  # the address of the last one that a request got

    def what_for(self, steps: list[Step], place: int, stack: bool) -> Request:
        """(size, alignment, range) of the request of steps[place], which only its vm_struct tells
        of. `stack`: the task just allocated a task_struct. Areas that must have been taken before
        it are taken.
        """
        guesses, pages = self._guesses(steps, place, stack)
        if not self.unseen:
            return guesses[0]
        choices: list[Choice] = []
        if self._lives(steps, place):
            choices = self._choices(guesses, pages)
        if pages is None and len(choices) != 1:
            choices = choices or [((), each) for each in guesses]
            return self._settled(self._best(choices, steps, place))
        if stack and choices:
            self.newest_stack = self.map.would_give(*choices[0][1])
        return self._settled(choices[0]) if choices else guesses[0]

    def _settled(self, choice: Choice) -> Request:
        for row in choice[0]:
            request = self._request(row)
            if request[0] == self.stack:
                self.newest_stack = row[0]
            area = self.map.alloc(*request)
            if area is not None:
                area.vm = Use(self.unseen.pop(row).pages)
        return choice[1]

    def _guesses(
        self, steps: list[Step], place: int, stack: bool
    ) -> tuple[list[Request], int | None]:
        """What a request may ask for, the usual first, and of how many pages its array is, None
        without one.
        """
        following = after(steps, place)
        if not following or following[0].what != "array":
            return self._without_pages(steps[place], following), None
        pages = following[0].size // POINTER
        return self._with_pages(pages, stack), pages

    def _choices(self, guesses: list[Request], pages: int | None) -> list[Choice]:
        """The guesses for which the twin would choose what the first snapshot shows: at once, else
        behind areas that no event told of. The kernel turns events off and on again while it
        boots (event_trace_enable_again()).
        """
        found: list[Choice] = [((), each) for each in self._shown(guesses, pages)]
        hidden: list[Row] = []
        trials: list[Trial] = []
        while (not found or pages is None) and len(hidden) < MOST_HIDDEN:
            following = self._next_shown(hidden)
            for row in following:
                trial = Trial(self.map)
                trial.alloc(*self._request(row))
                known = self._shown(guesses if pages is None else guesses[:1], pages)
                trial.give_up()
                found += [((*hidden, row), each) for each in known]
            stacks = [row for row in following if row[1] - row[0] == self.stack]
            if found or not stacks:  # only threads are many in a row
                break
            hidden.append(stacks[0])
            trials.append(Trial(self.map))
            trials[-1].alloc(*self._request(stacks[0]))
        for trial in reversed(trials):
            trial.give_up()
        return found

    def _best(self, choices: list[Choice], steps: list[Step], place: int) -> Choice:
        """The first choice with which most of the next requests get what the snapshot shows."""
        for count in AHEAD:
            if len(choices) > 1:
                found = [self._shown_behind(choice, steps, place, count) for choice in choices]
                most = max(found)
                choices = [each for each, n in zip(choices, found, strict=True) if n == most]
        return choices[0]

    def _shown_behind(
        self, choice: Choice, steps: list[Step], place: int, count: int
    ) -> int:
        """How many of the next `count` requests would get what the first snapshot shows, up to a
        purge; -1 where there is no room for the choice.
        """
        trial = Trial(self.map)
        room = [trial.alloc(*self._request(row)) for row in choice[0]]
        found = 0 if trial.alloc(*choice[1]) and all(room) else -1
        last = None
        for number in range(place + 1, len(steps) if found == 0 else 0):
            step = steps[number]
            if step.what == "purge" or not count:
                break
            if step.what == "struct":
                guesses, pages = self._guesses(steps, number, last == ("task", step.pid))
                known = self._shown(guesses, pages) if self._lives(steps, number) else []
                found += bool(known)
                count -= 1
                trial.alloc(*(known or guesses)[0])
            if step.what in ASKED:
                last = step.what, step.pid
        trial.give_up()
        return found

    def _lives(self, steps: list[Step], place: int) -> bool:
        if self.looked_at is not steps:
            self.looked_at, self.alive = steps, living(steps)
        return place in self.alive

    def _with_pages(self, pages: int, stack: bool) -> list[Request]:
        size = (pages + 1) * self.page_size
        modules = self.space.modules_start, self.space.modules_end
        guesses = [(size, 1, *self._whole()), (size, self.page_size, *modules)]
        if size == self.stack:  # of a task, else of a CPU's interrupts (arch_alloc_vmap_stack())
            guesses.insert(0 if stack else 1, (size, self.stack_align, *self._whole()))
        return guesses

    def _without_pages(self, step: Step, following: list[Step]) -> list[Request]:
        whole = self._whole()
        nested = [later.what for later in following] == ["struct", "array"]
        array = following[1].size // POINTER if nested else 0  # pages
        usual = 2 * self.page_size, self.page_size, *whole
        # __vmalloc_area_node(): an array of more than a page is an area itself
        if array > 1 and following[0].index - step.index <= 4:
            usual = (array * self.page_size // POINTER + 1) * self.page_size, 1, *whole
        others = [
            (end - start, self._alignment(area), *whole)
            for (start, end), area in self.unseen.items()
            if area.pages is None or "vpages" in area.flags
        ]
        return list(dict.fromkeys([usual, *others]))

    def _whole(self) -> Row:
        return self.map.start, self.map.end

    def _shown(self, guesses: list[Request], pages: int | None) -> list[Request]:
        """The guesses for which the twin would choose what the first snapshot shows, with the
        pages that the array has.
        """
        found = []
        for size, align, start, end in guesses:
            address = self.map.would_give(size, align, start, end)
            area = self.unseen.get((address, address + size))
            if area is not None and (area.pages == pages or "vpages" in area.flags):
                found.append((size, align, start, end))
        return found

    def _request(self, row: Row) -> Request:
        area, size = self.unseen[row], row[1] - row[0]
        if size != self.stack or area.pages is None:
            return size, self._alignment(area), *self._whole()
        request = size, self.stack_align, *self._whole()
        if self.map.would_give(*request) == row[0]:
            return request
        # behind the newest one: addresses below were not free then, but are by now
        return size, self.stack_align, self.newest_stack, self.map.end

    def _next_shown(self, but: list[Row]) -> list[Row]:
        """The areas that the first snapshot shows where the twin would put them now."""
        return [
            row for row in self.unseen
            if row not in but and self.map.would_give(*self._request(row)) == row[0]
        ]  # fmt: skip

    def _alignment(self, area: VmallocArea) -> int:
        """What an area without an array was aligned to: an ioremap to its size."""
        if "ioremap" not in area.flags:
            return 1
        size = area.size - self.page_size
        shift: int = self.map.page_shift
        most = shift + 2 * (shift - 3)  # IOREMAP_MAX_ORDER: PUD_SHIFT
        return 1 << min(max((size - 1).bit_length(), shift), most)


def after(steps: list[Step], place: int) -> list[Step]:
    """The next two steps that the task of steps[place] does on its own."""
    found: list[Step] = []
    for number in range(place + 1, len(steps)):
        step = steps[number]
        if step.pid == steps[place].pid and step.what in ASKED:
            found.append(step)
            if len(found) == 2:
                break
    return found


def living(steps: list[Step]) -> set[int]:
    """The places of the requests whose vm_struct is not given back in these steps."""
    by_address: dict[int, int] = {}
    found = set()
    for place, step in enumerate(steps):
        if step.what == "free":
            found.discard(by_address.pop(step.address, -1))
        elif step.what == "struct":
            by_address[step.address] = place
            found.add(place)
    return found
