/*
 * The yardstick for the compiled core: what a plain C program needs for the same job.
 *
 * It streams a recording's events (event_t, 64 bytes; see recordings/event.pxd) and answers the
 * demands with a buddy allocator, per-CPU page lists and SLUB (per-CPU slab, CPU partial list,
 * node list, hardened free pointers in real bytes) of the same design as the twin's. It keeps a
 * hash map from the recorded address to its own, reports nothing and checks nothing.
 *
 *   c_reference EVENTS CACHES PAGES ROUNDS
 *
 * EVENTS: file of event_t. CACHES: text, a line "size order objects offset cpu_partial min_partial"
 * for each cache number. PAGES: pages of memory. Prints "name seconds events" lines: the best of
 * ROUNDS for `stream` (read every column), `hash` (one insert, find or erase for each event) and
 * `reference` (the whole job).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef uint64_t u64;
typedef int64_t s64;
typedef uint32_t u32;
typedef int32_t s32;

struct event {
	u64 time;
	uint16_t cpu;
	uint8_t flags, preempt;
	s32 pid;
	u64 call_site, address, bytes_req, bytes_alloc;
	u32 gfp;
	s32 cache;
	uint16_t ahead;
	uint8_t order;
	int8_t migratetype, node;
	uint8_t kind, role, extra;
};
_Static_assert(sizeof(struct event) == 64, "event_t has 64 bytes");

enum { KMALLOC = 2, CACHE_ALLOC, KFREE, CACHE_FREE, PAGE_ALLOC, PAGE_FREE, PAGE_FREE_BATCHED };
enum { DEMAND = 1 };
enum { ORDERS = 11, TYPES = 4, PCP_HIGH = 378, PCP_BATCH = 63, NONE = 0 };
enum { BUDDY = 1, SLAB = 2, FROZEN = 4 };

struct page {
	s64 next, prev;
	u64 freelist;
	s64 chain;		/* the next slab of a CPU partial list */
	s32 cache, head;
	uint16_t inuse, objects;
	uint8_t order, type, flags;
	char rest[17];
};
_Static_assert(sizeof(struct page) == 64, "as the twin's");

struct cache {
	u32 size, order, objects, offset, cpu_partial, min_partial;
	u64 random, freelist;
	s64 slab, partial, list, nr_partial;
	u32 nr_cpu_partial;
};

static struct page *page;
static uint8_t *ram;
static struct cache *cache;
static s64 pages, heads, nr_caches;
static u64 base = 0x100000;	/* address of page 0: objects are never 0 */
static s64 area[ORDERS][TYPES], pcp[TYPES], pcp_count;

static void list_add(s64 entry, s64 head)
{
	s64 first = page[head].next;
	page[first].prev = entry;
	page[entry].next = first;
	page[entry].prev = head;
	page[head].next = entry;
}

static void list_add_tail(s64 entry, s64 head)
{
	s64 last = page[head].prev;
	page[last].next = entry;
	page[entry].prev = last;
	page[entry].next = head;
	page[head].prev = entry;
}

static void list_del(s64 entry)
{
	page[page[entry].prev].next = page[entry].next;
	page[page[entry].next].prev = page[entry].prev;
}

static s64 new_head(void)
{
	s64 head = heads++;
	page[head].next = page[head].prev = head;
	return head;
}

static void free_one(s64 pfn, u32 order, u32 type)
{
	while (order < ORDERS - 1) {
		s64 buddy = pfn ^ (1LL << order);
		if (buddy + (1LL << order) > pages || !(page[buddy].flags & BUDDY) ||
		    page[buddy].order != order)
			break;
		list_del(buddy);
		page[buddy].flags = 0;
		pfn &= buddy;
		order++;
	}
	page[pfn].flags = BUDDY;
	page[pfn].order = order;
	page[pfn].type = type;
	list_add(pfn, area[order][type]);
}

static s64 take_from(u32 order, u32 wanted, u32 type, u32 of)
{
	s64 pfn = page[area[order][type]].next;
	if (pfn == area[order][type])
		return -1;
	list_del(pfn);
	page[pfn].flags = 0;
	while (order > wanted) {
		s64 half;
		order--;
		half = pfn + (1LL << order);
		page[half].flags = BUDDY;
		page[half].order = order;
		page[half].type = of;
		list_add(half, area[order][of]);
	}
	page[pfn].type = of;
	return pfn;
}

static s64 take(u32 wanted, u32 type)
{
	for (u32 order = wanted; order < ORDERS; order++) {
		s64 pfn = take_from(order, wanted, type, type);
		if (pfn >= 0)
			return pfn;
	}
	for (int order = ORDERS - 1; order >= (int)wanted; order--)
		for (u32 other = 0; other < TYPES; other++) {
			s64 pfn = other == type ? -1 : take_from(order, wanted, other, type);
			if (pfn >= 0)
				return pfn;
		}
	return -1;
}

static s64 alloc_pages(u32 order, u32 type)
{
	s64 pfn;

	if (order)
		return take(order, type);
	if (page[pcp[type]].next == pcp[type])
		for (int i = 0; i < PCP_BATCH; i++) {
			pfn = take(0, type);
			if (pfn < 0)
				break;
			list_add_tail(pfn, pcp[type]);
			pcp_count++;
		}
	pfn = page[pcp[type]].next;
	if (pfn == pcp[type])
		return -1;
	list_del(pfn);
	pcp_count--;
	return pfn;
}

static void free_pages(s64 pfn, u32 order)
{
	u32 type = page[pfn].type;

	if (order) {
		free_one(pfn, order, type);
		return;
	}
	list_add(pfn, pcp[type]);
	if (++pcp_count < PCP_HIGH)
		return;
	for (int i = 0; i < PCP_BATCH;)
		for (u32 t = 0; t < TYPES && i < PCP_BATCH; t++) {
			s64 last = page[pcp[t]].prev;
			if (last == pcp[t])
				continue;
			list_del(last);
			pcp_count--;
			free_one(last, 0, t);
			i++;
		}
}

static u64 swab(u64 value) { return __builtin_bswap64(value); }
static u64 *at(u64 address) { return (u64 *)(ram + (address - base)); }
static s64 pfn_of(u64 address) { return (s64)((address - base) >> 12); }

static u64 get_free(struct cache *c, u64 object)
{
	u64 place = object + c->offset;
	return *at(place) ^ c->random ^ swab(place);
}

static void set_free(struct cache *c, u64 object, u64 next)
{
	u64 place = object + c->offset;
	*at(place) = next ^ c->random ^ swab(place);
}

static s64 new_slab(s32 number)
{
	struct cache *c = &cache[number];
	s64 pfn = alloc_pages(c->order, 0);
	u64 next = NONE;

	if (pfn < 0)
		return -1;
	for (s64 i = 0; i < 1LL << c->order; i++) {
		page[pfn + i].flags = SLAB;
		page[pfn + i].head = pfn;
	}
	for (int i = c->objects - 1; i >= 0; i--) {
		u64 object = base + ((u64)pfn << 12) + (u64)i * c->size;
		set_free(c, object, next);
		next = object;
	}
	page[pfn].cache = number;
	page[pfn].objects = page[pfn].inuse = c->objects;
	page[pfn].flags = SLAB | FROZEN;
	page[pfn].freelist = next;
	return pfn;
}

static void free_slab(struct cache *c, s64 pfn)
{
	for (s64 i = 0; i < 1LL << c->order; i++)
		page[pfn + i].flags = 0;
	free_pages(pfn, c->order);
}

/* A CPU partial list that is full goes to the node, or back as pages. */
static void unfreeze_partials(struct cache *c)
{
	while (c->partial >= 0) {
		s64 pfn = c->partial;
		c->partial = page[pfn].chain;
		page[pfn].flags &= ~FROZEN;
		if (!page[pfn].inuse && c->nr_partial >= c->min_partial) {
			free_slab(c, pfn);
			continue;
		}
		list_add_tail(pfn, c->list);
		c->nr_partial++;
	}
	c->nr_cpu_partial = 0;
}

static u64 slow_alloc(s32 number)
{
	struct cache *c = &cache[number];
	s64 pfn = c->slab;
	u64 object;

	if (pfn >= 0 && page[pfn].freelist != NONE) {
		/* objects freed to it meanwhile */
	} else if (c->partial >= 0) {
		pfn = c->partial;
		c->partial = page[pfn].chain;
		c->nr_cpu_partial--;
	} else if (c->nr_partial) {
		pfn = page[c->list].next;
		list_del(pfn);
		c->nr_partial--;
		page[pfn].flags |= FROZEN;
	} else {
		pfn = new_slab(number);
		if (pfn < 0)
			return 0;
	}
	if (c->slab >= 0 && c->slab != pfn)
		page[c->slab].flags &= ~FROZEN;
	c->slab = pfn;
	object = page[pfn].freelist;
	page[pfn].freelist = NONE;
	page[pfn].inuse = page[pfn].objects;
	c->freelist = get_free(c, object);
	return object;
}

static u64 slab_alloc(s32 number)
{
	struct cache *c = &cache[number];
	u64 object = c->freelist;

	if (object == NONE)
		return slow_alloc(number);
	c->freelist = get_free(c, object);
	return object;
}

static void slab_free(u64 object)
{
	s64 pfn = page[pfn_of(object)].head;
	struct cache *c = &cache[page[pfn].cache];
	u64 prior;

	if (pfn == c->slab) {
		set_free(c, object, c->freelist);
		c->freelist = object;
		return;
	}
	prior = page[pfn].freelist;
	set_free(c, object, prior);
	page[pfn].freelist = object;
	page[pfn].inuse--;
	if (page[pfn].flags & FROZEN)
		return;
	if (prior == NONE) {
		page[pfn].flags |= FROZEN;
		if (c->nr_cpu_partial >= c->cpu_partial)
			unfreeze_partials(c);
		page[pfn].chain = c->partial;
		c->partial = pfn;
		c->nr_cpu_partial++;
	} else if (!page[pfn].inuse && c->nr_partial >= c->min_partial) {
		list_del(pfn);
		c->nr_partial--;
		free_slab(c, pfn);
	}
}

/* Open addressing by a power of two; a slot taken out is closed by moving what follows. */
static u64 *keys, *values;
static u64 mask;

static u64 slot_of(u64 key)
{
	u64 slot = (key * 0x9E3779B97F4A7C15ull >> 20) & mask;
	while (keys[slot] && keys[slot] != key)
		slot = (slot + 1) & mask;
	return slot;
}

static void put(u64 key, u64 value)
{
	u64 slot = slot_of(key);
	keys[slot] = key;
	values[slot] = value;
}

static u64 take_key(u64 key)
{
	u64 hole = slot_of(key), value = keys[hole] ? values[hole] : 0, slot = hole;

	if (!keys[hole])
		return 0;
	for (;;) {
		u64 home;
		slot = (slot + 1) & mask;
		if (!keys[slot])
			break;
		home = (keys[slot] * 0x9E3779B97F4A7C15ull >> 20) & mask;
		if (((slot - home) & mask) < ((slot - hole) & mask))
			continue;
		keys[hole] = keys[slot];
		values[hole] = values[slot];
		hole = slot;
	}
	keys[hole] = 0;
	return value;
}

static void *map(size_t size)
{
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return area;
}

static void boot(const struct cache *geometry)
{
	heads = pages;
	memset(page, 0, sizeof(struct page) * pages);
	for (int o = 0; o < ORDERS; o++)
		for (int t = 0; t < TYPES; t++)
			area[o][t] = new_head();
	for (int t = 0; t < TYPES; t++)
		pcp[t] = new_head();
	pcp_count = 0;
	for (s64 i = 0; i < nr_caches; i++) {
		cache[i] = geometry[i];
		cache[i].list = new_head();
	}
	for (s64 pfn = 0; pfn + 1024 <= pages; pfn += 1024)
		free_one(pfn, ORDERS - 1, 1);
	memset(keys, 0, 8 * (mask + 1));
}

static u64 run_reference(const struct event *event, s64 events)
{
	u64 sum = 0;

	for (s64 i = 0; i < events; i++) {
		const struct event *e = &event[i];
		u64 own;

		switch (e->kind) {
		case KMALLOC:
		case CACHE_ALLOC:
			if (e->cache < 0 || e->cache >= nr_caches || !cache[e->cache].objects)
				break;
			own = slab_alloc(e->cache);
			put(e->address, own);
			sum += own;
			break;
		case KFREE:
		case CACHE_FREE:
			own = take_key(e->address);
			if (own)
				slab_free(own);
			break;
		case PAGE_ALLOC:
			if (e->role != DEMAND)
				break;
			own = alloc_pages(e->order, e->migratetype & 3) + 1;
			put(e->address + 1, own);
			sum += own;
			break;
		case PAGE_FREE:
		case PAGE_FREE_BATCHED:
			own = e->role == DEMAND ? take_key(e->address + 1) : 0;
			if (own)
				free_pages(own - 1, e->order);
			break;
		}
	}
	return sum;
}

static u64 run_hash(const struct event *event, s64 events)
{
	u64 sum = 0;

	for (s64 i = 0; i < events; i++) {
		u64 key = event[i].address + 1;
		if (event[i].kind == KFREE || event[i].kind == CACHE_FREE || event[i].kind == PAGE_FREE)
			sum += take_key(key);
		else
			put(key, i);
	}
	return sum;
}

static u64 run_stream(const struct event *event, s64 events)
{
	u64 sum = 0;

	for (s64 i = 0; i < events; i++)
		sum += event[i].time ^ event[i].address ^ event[i].bytes_alloc ^ event[i].kind;
	return sum;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static struct cache *read_caches(const char *name)
{
	FILE *file = fopen(name, "r");
	struct cache *geometry = map(sizeof(struct cache) * 65536);
	struct cache c;

	if (!file) {
		perror(name);
		exit(2);
	}
	memset(&c, 0, sizeof(c));
	c.slab = c.partial = -1;
	while (nr_caches < 65536 &&
	       fscanf(file, "%u %u %u %u %u %u", &c.size, &c.order, &c.objects, &c.offset,
		      &c.cpu_partial, &c.min_partial) == 6) {
		c.random = 0x9E3779B97F4A7C15ull * (nr_caches + 1);
		geometry[nr_caches++] = c;
	}
	fclose(file);
	return geometry;
}

int main(int argc, char **argv)
{
	static const char *names[] = {"stream", "hash", "reference"};
	static u64 (*runs[])(const struct event *, s64) = {run_stream, run_hash, run_reference};
	FILE *file = argc == 5 ? fopen(argv[1], "rb") : NULL;
	struct cache *geometry;
	struct event *event;
	s64 events;
	u64 check = 0;

	if (!file) {
		fprintf(stderr, "usage: c_reference EVENTS CACHES PAGES ROUNDS\n");
		return 2;
	}
	fseek(file, 0, SEEK_END);
	events = ftell(file) / 64;
	rewind(file);
	event = map(events * 64 + 64);
	if (fread(event, 64, events, file) != (size_t)events)
		return 2;
	geometry = read_caches(argv[2]);
	pages = atoll(argv[3]) & ~1023LL;
	page = map(sizeof(struct page) * (pages + 65536 + 128));
	ram = map((size_t)pages << 12);
	cache = map(sizeof(struct cache) * (nr_caches + 1));
	for (mask = 1; mask < (u64)events; mask <<= 1)
		;
	mask = mask * 2 - 1;
	keys = map(8 * (mask + 1));
	values = map(8 * (mask + 1));
	for (int r = 0; r < 3; r++) {
		double best = 1e9;
		for (int round = 0; round < atoi(argv[4]); round++) {
			double begin;
			boot(geometry);
			begin = now();
			check += runs[r](event, events);
			if (now() - begin < best)
				best = now() - begin;
		}
		printf("%s %.6f %lld\n", names[r], best, (long long)events);
	}
	fprintf(stderr, "check %llx\n", (unsigned long long)check);
	return 0;
}
