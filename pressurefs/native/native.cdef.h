/* SPDX-License-Identifier: MIT */
/*
 * What Python calls in C. cffi reads this file, without the lines that begin with
 * '#'; native.h includes it, so that each prototype is written once.
 *
 * Every call answers -1 or NULL and errno on failure.
 */
#ifndef PFS_NATIVE_CDEF_H
#define PFS_NATIVE_CDEF_H

/* take.c */

/* The process or thread that a descriptor was last taken from. */
struct pfs_writer {
	int pid;
	int flags;
	int pidfd;
};
int pfs_look(int tid, int target_fd);
int pfs_take(struct pfs_writer *writer, int pid, int as_thread, int target_fd);
int pfs_file_order(int tid, int target_fd, int own_fd);
int pfs_same_table(int tid, int other_tid);

/* epoll_rows.c */

/* An epoll set of rows, and the number that the next one is tried under. */
struct pfs_rows {
	int epoll_fd;
	int next_fd;
	int end_fd;
};

/* uring.c */

/* The steps of pfs_uring_keep(). */
enum { PFS_KEPT, PFS_LOOK, PFS_TAKE, PFS_TIE, PFS_ROW };

struct pfs_uring;
struct pfs_uring *pfs_uring_open(void);
int pfs_uring_tie(struct pfs_uring *uring, int event_fd);
int pfs_uring_untie(struct pfs_uring *uring);
int pfs_uring_keep_taken(struct pfs_uring *uring, struct pfs_rows *rows, int taken, uint64_t token);
int pfs_uring_keep(struct pfs_uring *uring, struct pfs_writer *writer, struct pfs_rows *rows, int tid,
		   int target_fd, uint64_t token, int *taken);
size_t pfs_uring_signal_all(struct pfs_uring **urings, size_t count);
uint64_t pfs_uring_signals_sent(const struct pfs_uring *uring);
void pfs_uring_close(struct pfs_uring *uring);

/* aio.c */

struct pfs_aio;
struct pfs_aio *pfs_aio_open(void);
size_t pfs_aio_signal_all(struct pfs_aio *aio, const int *event_fds, size_t count);
void pfs_aio_close(struct pfs_aio *aio);

/* listeners.c */

enum { PFS_LOW, PFS_MEDIUM, PFS_OOM };
enum { PFS_DEFAULT, PFS_HIERARCHY, PFS_LOCAL };

struct pfs_thresholds {
	uint32_t window_pages;
	uint32_t medium;
	uint32_t oom;
	int32_t oom_priority;
	int scale_is_window; /* the RFC's arithmetic; else the kernel's */
};

/* A window, and what became of it. `is_told`: not where the place had gone meanwhile. */
struct pfs_told {
	struct pfs_window window;
	uint32_t index_percent;
	int32_t level;
	int32_t is_told;
};

struct pfs_fanout;
struct pfs_fanout *pfs_fanout_open(uint64_t top);
int pfs_fanout_attach(struct pfs_fanout *fanout, int listening_fd, void *shared);
void pfs_fanout_detach(struct pfs_fanout *fanout);
void pfs_fanout_tune(struct pfs_fanout *fanout, const struct pfs_thresholds *thresholds);
void pfs_fanout_tell(struct pfs_fanout *fanout, const struct pfs_window *window, struct pfs_told *told);

struct pfs_place;
struct pfs_place *pfs_fanout_place(struct pfs_fanout *fanout, uint64_t cgroup, struct pfs_place *parent);
void pfs_fanout_set_parent(struct pfs_place *place, struct pfs_place *parent);
void pfs_fanout_drop_place(struct pfs_fanout *fanout, struct pfs_place *place);

struct pfs_listener;
struct pfs_listener *pfs_place_add(struct pfs_fanout *fanout, struct pfs_place *place, struct pfs_uring *uring,
				   int level, int mode);
int pfs_listener_drop(struct pfs_fanout *fanout, struct pfs_listener *listener);

/* ringbuf.c */

struct pfs_reader;
struct pfs_reader *pfs_reader_open(struct pfs_fanout *fanout, int ring_fd, size_t ring_bytes, int told_fd);
size_t pfs_reader_take(struct pfs_reader *reader, struct pfs_told *told, size_t most);
void pfs_reader_close(struct pfs_reader *reader);

#endif
