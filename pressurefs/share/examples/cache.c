/* SPDX-License-Identifier: MIT */
/*
 * A program with a cache that it drops when memory is being reclaimed.
 *
 *	cc $(pressurefs --cflags) cache.c -o cache && ./cache
 */
#include <poll.h>
#include <vmpressure.h>

int main(void)
{
	char *cache = malloc(1 << 20);
	struct pollfd pressure = { .fd = vmpressure_fd(VM_PRESSURE_LOW), .events = POLLIN };
	uint64_t ignored;

	if (pressure.fd < 0) {
		perror("vmpressure_fd");
		return 1;
	}
	puts("caching");
	fflush(stdout);
	while (poll(&pressure, 1, -1) < 0)
		if (errno != EINTR)
			return 1;
	if (read(pressure.fd, &ignored, sizeof(ignored)) < 0)
		return 1;
	free(cache);
	puts("dropped");
	close(pressure.fd);
	return 0;
}
