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
int pfs_uring_fd(const struct pfs_uring *uring);
int pfs_uring_tie(struct pfs_uring *uring, int event_fd);
int pfs_uring_untie(struct pfs_uring *uring);
int pfs_uring_keep_taken(struct pfs_uring *uring, struct pfs_rows *rows, int taken, uint64_t token);
int pfs_uring_keep(struct pfs_uring *uring, struct pfs_writer *writer, struct pfs_rows *rows, int tid,
		   int target_fd, uint64_t token, int *taken);
void pfs_uring_close(struct pfs_uring *uring);

/* aio.c */

struct pfs_aio;
struct pfs_aio *pfs_aio_open(void);
void pfs_aio_close(struct pfs_aio *aio);

/* poll.c */

/* The readiness of one open file, which its owner allocates. */
struct pfs_poll {
	int fuse_fd;	  /* a descriptor of the FUSE connection */
	int has_waiter;	  /* whether `waiter` was ever set */
	uint64_t waiter;  /* the kernel's number of the file that is polled */
	int has_event;	  /* an event that no poll(2) has reported */
	int has_ended;
};
int pfs_poll_read(struct pfs_poll *poll, int has_waiter, uint64_t waiter);

/* event_path.c */

enum { PFS_LOW, PFS_MEDIUM, PFS_OOM };
enum { PFS_DEFAULT, PFS_HIERARCHY, PFS_LOCAL };

/* What judges a window. */
struct pfs_thresholds {
	uint64_t window_pages;
	uint32_t medium;     /* percent */
	uint32_t oom;	     /* percent */
	int32_t oom_priority;
	int scale_is_window; /* the RFC's arithmetic; else the kernel's */
};

struct pfs_event_path;
struct pfs_event_path *pfs_event_path_open(uint64_t top, size_t listeners_max);
void pfs_event_path_tune(struct pfs_event_path *path, const struct pfs_thresholds *thresholds);
void pfs_event_path_use_aio(struct pfs_event_path *path, struct pfs_aio *aio);
uint64_t pfs_event_path_take_lost(struct pfs_event_path *path, int *error);
void pfs_event_path_close(struct pfs_event_path *path);

/* listeners.c */

/* How a listener is signalled: by an io_uring, by AIO, or as an open file that is polled. */
enum { PFS_BY_URING, PFS_BY_AIO, PFS_BY_POLL };

/* One listener, in values only: lists and places are derived from it, and can be
 * made again by whoever has the table. */
struct pfs_listener {
	uint64_t token;	 /* never used twice; 0: the row is free */
	uint64_t cgroup; /* inode number, or PFS_MACHINE */
	uint64_t signals_sent;
	int32_t level;
	int32_t mode;
	uint32_t uid;
	int32_t pid;
	int32_t target; /* PFS_BY_... */
	int32_t fd;	/* the io_uring's or the eventfd's; -1 of an open file that is polled */
};
int pfs_listeners_add(struct pfs_event_path *path, const struct pfs_listener *listener, void *handle,
		      uint64_t parent);
int pfs_listeners_drop(struct pfs_event_path *path, int row, uint64_t token);
int pfs_listeners_end(struct pfs_event_path *path, int row, uint64_t token);
int pfs_listeners_bury(struct pfs_event_path *path, int row, uint64_t token);
uint64_t pfs_listeners_signals_sent(struct pfs_event_path *path, int row, uint64_t token);
void pfs_event_path_warm(struct pfs_event_path *path);

/* places.c */

void pfs_places_set_parent(struct pfs_event_path *path, uint64_t cgroup, uint64_t parent);

/* bpf_maps.c */

int pfs_event_path_attach(struct pfs_event_path *path, int listening_fd, void *shared);
void pfs_event_path_detach(struct pfs_event_path *path);

/* windows.c */

/* Pages of one cgroup since its last full window. */
struct pfs_pages {
	uint64_t cgroup; /* the number that history has */
	uint64_t scanned;
	uint64_t reclaimed;
};
int pfs_windows_add(struct pfs_event_path *path, struct pfs_pages *pages, uint64_t listening, int is_inherited,
		    uint64_t scanned, uint64_t reclaimed, int32_t priority, uint64_t time_ns);
void pfs_windows_fill(struct pfs_event_path *path, const struct pfs_window *window);
void pfs_windows_inject(struct pfs_event_path *path, uint64_t cgroup, uint64_t listening, int is_inherited,
			int32_t level, uint64_t time_ns);

/* walk.c, history.c */

enum {
	PFS_NO_INDEX = -1,
	/* Flags of a judged window. */
	PFS_SAMPLED = 1,   /* from pfs_windows_add() or _inject(), and not from the BPF program */
	PFS_INHERITED = 2, /* the nearest listened cgroup is an ancestor of the target */
	PFS_WALKED = 4,	   /* that cgroup was still listened to */
	PFS_HEARD = 8,	   /* a listener was signalled, the first at `heard_at` */
	PFS_SILENCED = 16  /* a `default` listener was left out, since one below it was signalled */
};

/* A window that was judged, and whom it reached. */
struct pfs_judged {
	uint64_t time_ns;
	uint64_t cgroup;    /* the target of the reclaim */
	uint64_t listening; /* it, or the nearest listened cgroup above it */
	uint64_t heard_at;
	uint64_t newest;    /* the last token that was given before */
	uint64_t scanned;
	uint64_t reclaimed;
	uint64_t injected;  /* of `scanned`, what stands for the priority and was no page */
	int32_t priority;
	int32_t index_percent;
	int32_t level;
	int32_t flags;
};
void pfs_walk_again(struct pfs_event_path *path, uint64_t from);
uint64_t pfs_history_head(struct pfs_event_path *path);
size_t pfs_history_read(struct pfs_event_path *path, uint64_t *from, struct pfs_judged *judged, size_t most);

/* ringbuf.c */

struct pfs_reader;
struct pfs_reader *pfs_reader_open(struct pfs_event_path *path, int map_fd, int wait_fd, size_t ring_bytes,
				   int told_fd);
void pfs_reader_close(struct pfs_reader *reader);

#endif
