/* SPDX-License-Identifier: MIT */
/* What Python sees of native.c. Every call answers -1 or NULL and errno on failure. */

struct pfs_writer {
	int pid;
	int flags;
	int pidfd;
};
int pfs_look(int tid, int target_fd);
int pfs_take(struct pfs_writer *writer, int pid, int as_thread, int target_fd);
int pfs_file_order(int tid, int target_fd, int own_fd);
int pfs_same_table(int tid, int other_tid);

struct pfs_rows {
	int epoll_fd;
	int next_fd;
	int end_fd;
};

enum { PFS_KEPT, PFS_LOOK, PFS_TAKE, PFS_TIE, PFS_ROW, ... };
struct pfs_ring;
struct pfs_ring *pfs_ring_open(void);
int pfs_ring_tie(struct pfs_ring *ring, int event_fd);
int pfs_ring_untie(struct pfs_ring *ring);
int pfs_ring_keep_taken(struct pfs_ring *ring, struct pfs_rows *rows, int taken, uint64_t token);
int pfs_ring_keep(struct pfs_ring *ring, struct pfs_writer *writer, struct pfs_rows *rows,
		  int tid, int target_fd, uint64_t token, int *taken);
size_t pfs_ring_signal_all(struct pfs_ring **rings, size_t count);
uint64_t pfs_ring_signals_sent(const struct pfs_ring *ring);
void pfs_ring_close(struct pfs_ring *ring);
