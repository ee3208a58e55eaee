/* SPDX-License-Identifier: MIT */
/*
 * Signals eventfds where io_uring is forbidden: an AIO request may name one to
 * signal when it completes, by the same path that never blocks.  Reading one byte of
 * a memfd completes within io_submit, and many such requests go in one call.
 * The descriptor must be at hand each time: this way an eventfd is held.
 */

#include "native.h"

#include <stdlib.h>
#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PFS_AIO_BATCH 64

struct pfs_aio {
	aio_context_t context;
	int memory_fd;
	char byte;
	long waiting; /* requests that were not submitted yet */
	struct iocb requests[PFS_AIO_BATCH];
	struct iocb *listed[PFS_AIO_BATCH];
	struct io_event done[PFS_AIO_BATCH];
};

void pfs_aio_close(struct pfs_aio *aio)
{
	int saved = errno;

	if (aio->context)
		syscall(SYS_io_destroy, aio->context);
	if (aio->memory_fd >= 0)
		close(aio->memory_fd);
	free(aio);
	errno = saved;
}

struct pfs_aio *pfs_aio_open(void)
{
	struct pfs_aio *aio = calloc(1, sizeof(*aio));

	if (!aio)
		return NULL;
	aio->memory_fd = memfd_create("pressurefs", MFD_CLOEXEC);
	if (aio->memory_fd < 0 || ftruncate(aio->memory_fd, 1) < 0 ||
	    syscall(SYS_io_setup, PFS_AIO_BATCH, &aio->context) < 0) {
		pfs_aio_close(aio);
		return NULL;
	}
	for (int i = 0; i < PFS_AIO_BATCH; i++) {
		aio->listed[i] = &aio->requests[i];
		aio->requests[i].aio_lio_opcode = IOCB_CMD_PREAD;
		aio->requests[i].aio_fildes = (uint32_t)aio->memory_fd;
		aio->requests[i].aio_buf = (uint64_t)(uintptr_t)&aio->byte;
		aio->requests[i].aio_nbytes = 1;
		aio->requests[i].aio_flags = IOCB_FLAG_RESFD;
	}
	return aio;
}

size_t pfs_aio_flush(struct pfs_aio *aio)
{
	size_t lost = 0;

	for (long at = 0; at < aio->waiting;) {
		long submitted = syscall(SYS_io_submit, aio->context, aio->waiting - at, aio->listed + at);
		struct timespec none = { 0, 0 };

		if (submitted > 0) {
			at += submitted;
			syscall(SYS_io_getevents, aio->context, 0L, (long)PFS_AIO_BATCH, aio->done, &none);
		} else if (!(submitted < 0 && errno == EINTR)) {
			/* The first of the rest is at fault: leave it out. */
			at++;
			lost++;
		}
	}
	aio->waiting = 0;
	return lost;
}

size_t pfs_aio_signal(struct pfs_aio *aio, int event_fd)
{
	aio->requests[aio->waiting++].aio_resfd = (uint32_t)event_fd;
	return aio->waiting == PFS_AIO_BATCH ? pfs_aio_flush(aio) : 0;
}
