/* A stack that grows far beyond what exec made; no system call tells of it. */
#include <string.h>

static int deep(int n)
{
	volatile char room[4000];

	memset((char *)room, n, sizeof room);
	return n ? deep(n - 1) + room[n % 4000] : 0;
}

int main(void)
{
	return deep(200) == 12345;
}
