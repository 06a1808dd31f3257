/* Runs the malloc calls that stdin lists (struct op) and writes what each returned: the program
 * that malloc_program.py records under strace. getppid() and getpgrp() mark what malloc does. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct op { int32_t kind, thread, slot, pad; uint64_t size, align; };
static struct op ops[20000];
static void *slots[8192];
static uint64_t out[20000];
static pthread_t threads[64];
static sem_t go[64], done;
static volatile int at;

static void run(int i)
{
	struct op *o = &ops[i];
	void *r = 0;

	switch (o->kind) {
	case 'm': r = slots[o->slot] = malloc(o->size); break;
	case 'c': r = slots[o->slot] = calloc(1, o->size); break;
	case 'r': r = slots[o->slot] = realloc(slots[o->slot], o->size); break;
	case 'f': free(slots[o->slot]); slots[o->slot] = 0; break;
	case 'a': r = slots[o->slot] = memalign(o->align, o->size); break;
	case 't': r = (void *)(long)malloc_trim(o->size); break;
	}
	out[i] = (uint64_t)r;
}

static void *worker(void *number)
{
	for (;;) {
		sem_wait(&go[(long)number]);
		if (ops[at].kind == 'X')
			return 0;
		run(at);
		sem_post(&done);
	}
}

int main(void)
{
	char *p = (char *)ops;
	long got, left, i, k, n;

	while ((got = read(0, p, sizeof ops - (p - (char *)ops))) > 0)
		p += got;
	n = (p - (char *)ops) / sizeof(struct op);
	sem_init(&done, 0, 0);
	for (k = 0; k < 64; k++)
		sem_init(&go[k], 0, 0);
	syscall(SYS_getppid);
	for (i = 0; i < n; i++) {
		k = ops[i].thread;
		at = i;
		if (ops[i].kind == 'T') {
			syscall(SYS_getpgrp);
			pthread_create(&threads[k], 0, worker, (void *)k);
			syscall(SYS_getppid);
		} else if (ops[i].kind == 'X') {
			sem_post(&go[k]);
			pthread_join(threads[k], 0);
		} else if (k) {
			sem_post(&go[k]);
			sem_wait(&done);
		} else {
			run(i);
		}
	}
	syscall(SYS_getpgrp);
	p = (char *)out;
	for (left = n * 8; left > 0 && (got = write(1, p, left)) > 0; left -= got)
		p += got;
	_exit(0);
}
