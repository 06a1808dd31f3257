/* Asks for memory in most of the ways that there are, and writes to it; prints nothing. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static char bss[100000];
static char *volatile kept[4];

static void split_and_merge(void)
{
	char *p = mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);

	memset(p, 1, 64 * PAGE);
	mprotect(p + 8 * PAGE, 8 * PAGE, PROT_READ);
	mprotect(p + 16 * PAGE, 8 * PAGE, PROT_NONE);
	mprotect(p + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE);
	munmap(p + 32 * PAGE, 4 * PAGE);
	mmap(p + 33 * PAGE, PAGE, PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0);
	mmap(p + 32 * PAGE, PAGE, PROT_READ | PROT_WRITE, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	mmap(p + 32 * PAGE, PAGE, PROT_READ | PROT_WRITE, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	madvise(p + 40 * PAGE, 8 * PAGE, MADV_DONTNEED);
	madvise(p + 44 * PAGE, 4 * PAGE, MADV_HUGEPAGE);
	madvise(p + 48 * PAGE, 4 * PAGE, MADV_DONTFORK);
	madvise(p + 52 * PAGE, 2 * PAGE, MADV_WIPEONFORK);
	madvise(p + 56 * PAGE, 2 * PAGE, MADV_DONTDUMP);
	madvise(p + 56 * PAGE, 1 * PAGE, MADV_DODUMP);
	madvise(p + PAGE / 2, PAGE, MADV_DONTNEED);
	mlock(p, 3 * PAGE);
	munlock(p + PAGE, PAGE);
	mlock2(p + 60 * PAGE, PAGE, MLOCK_ONFAULT);
}

static void move(void)
{
	char *p = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
	char *q = mmap(0, 16 * PAGE, PROT_READ, ANON, -1, 0);
	char *room = mmap(0, 64 * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);

	memset(p, 1, 16 * PAGE);
	p = mremap(p, 16 * PAGE, 32 * PAGE, MREMAP_MAYMOVE);
	p = mremap(p, 32 * PAGE, 20 * PAGE, 0);
	mremap(p, 20 * PAGE, 4000 * PAGE, 0);
	q = mremap(q, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * PAGE);
	mremap(p + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	mremap(room + PAGE / 2, PAGE, PAGE, 0);
}

static void files(void)
{
	int fd = open("/tmp/p/vm.data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	int memory = memfd_create("notes", MFD_CLOEXEC);
	int copy;
	char *p;

	ftruncate(fd, 40 * PAGE);
	ftruncate(memory, 4 * PAGE);
	copy = fcntl(fd, F_DUPFD, 30);
	p = mmap(0, 40 * PAGE, PROT_READ, MAP_SHARED, copy, 0);
	mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE);
	mmap(0, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, dup2(fd, 40), 5 * PAGE);
	close(fd);
	mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mmap(0, PAGE, PROT_READ, MAP_PRIVATE, copy, 123);
	close(copy);
}

static void others(void)
{
	int id = shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0600);
	char *p;

	shmat(id, 0, 0);
	shmdt(shmat(id, 0, SHM_RDONLY));
	shmctl(id, IPC_RMID, 0);
	mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, ANON | MAP_GROWSDOWN, -1, 0);
	p = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, ANON | MAP_32BIT, -1, 0);
	memset(p, 1, 2 * PAGE);
	mmap((void *)0x10000000, 2 * PAGE, PROT_READ, ANON, -1, 0);
	mmap((void *)0x10001000, 2 * PAGE, PROT_READ, ANON, -1, 0);
	mmap(0, 8ul << 20, PROT_READ | PROT_WRITE, ANON | MAP_POPULATE, -1, 0);
	mmap(0, 1ul << 50, PROT_READ, ANON, -1, 0);
	mmap(0, 0, PROT_READ, ANON, -1, 0);
	munmap((void *)1, PAGE);
	memset(sbrk(1 << 20), 1, 100);
	sbrk(-(1 << 19));
	brk((void *)1);
}

int main(void)
{
	memset(bss, 1, sizeof bss);
	split_and_merge();
	move();
	files();
	others();
	for (int i = 0; i < 4; i++)
		kept[i] = memset(malloc(100 << 4 * i), 1, 100 << 4 * i);
	free(kept[3]);
	if (!fork()) {
		others();
		exit(0);
	}
	wait(0);
	return 0;
}
