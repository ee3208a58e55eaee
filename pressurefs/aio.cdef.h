/* SPDX-License-Identifier: MIT */
/* What Python sees of aio.c. NULL and errno on failure; what is signalled is counted. */

struct pfs_aio;
struct pfs_aio *pfs_aio_open(void);
size_t pfs_aio_signal_all(struct pfs_aio *aio, const int *event_fds, size_t count);
void pfs_aio_close(struct pfs_aio *aio);
