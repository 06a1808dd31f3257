/* Threads one after another and together, each with an arena and some large blocks. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void *work(void *argument)
{
	long n = (long)argument;
	char *small[200], *large = malloc(n << 18);

	for (int i = 0; i < 200; i++)
		small[i] = memset(malloc(n * 1000), 1, n * 1000);
	for (int i = 0; i < 200; i += 2)
		free(small[i]);
	memset(large, 1, n << 18);
	if (n % 2)
		free(large);
	return 0;
}

int main(void)
{
	pthread_t threads[6];
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 1 << 20);
	for (long n = 0; n < 6; n++)
		pthread_create(&threads[n], n % 2 ? &attributes : 0, work, (void *)(n + 1));
	for (int n = 0; n < 6; n++)
		pthread_join(threads[n], 0);
	return 0;
}
