/* What Python sees of native.c. Every call answers -1 or NULL and errno on failure. */

int pfs_pidfd_open_thread(int tid);
int pfs_pidfd_getfd(int pidfd, int target_fd);
int pfs_epoll_add(int epoll_fd, int event_fd, uint64_t token);

struct pfs_ring;
struct pfs_ring *pfs_ring_open(int event_fd);
int pfs_ring_signal(struct pfs_ring *ring);
size_t pfs_ring_signal_all(struct pfs_ring **rings, size_t count);
uint64_t pfs_ring_signals_sent(const struct pfs_ring *ring);
void pfs_ring_close(struct pfs_ring *ring);
