/* What Python sees of native.c. Every call answers -1 or NULL and errno on failure. */

int pfs_take(int pid, int as_thread, int target_fd);
int pfs_same_file(int tid, int target_fd, int own_fd);
int pfs_epoll_add(int epoll_fd, int event_fd, int *next, int end, uint64_t token);

struct pfs_ring;
struct pfs_ring *pfs_ring_open(void);
int pfs_ring_tie(struct pfs_ring *ring, int event_fd);
int pfs_ring_untie(struct pfs_ring *ring);
int pfs_ring_signal(struct pfs_ring *ring);
size_t pfs_ring_signal_all(struct pfs_ring **rings, size_t count);
uint64_t pfs_ring_signals_sent(const struct pfs_ring *ring);
void pfs_ring_close(struct pfs_ring *ring);

struct pfs_aio;
struct pfs_aio *pfs_aio_open(void);
size_t pfs_aio_signal_all(struct pfs_aio *aio, const int *event_fds, size_t count);
void pfs_aio_close(struct pfs_aio *aio);
