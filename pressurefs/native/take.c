/* SPDX-License-Identifier: MIT */
/* Takes a descriptor of another process, and compares descriptors of two. */

#include "native.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

/* PIDFD_THREAD, Linux 6.9: the same bit as O_EXCL; headers of Debian 12 are older. */
#define PFS_PIDFD_THREAD O_EXCL

/* Refuse with EINVAL what /proc does not show as an eventfd, before anything is
 * taken.  This asks nothing of the file: see signaller/writer.py. */
int pfs_look(int tid, int target_fd)
{
	static const char eventfd_link[] = "anon_inode:[eventfd]";
	char path[sizeof("/proc//fd/") + 2 * 11];
	char shown[sizeof(eventfd_link)];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/fd/%u", tid, (unsigned int)target_fd);
	length = readlink(path, shown, sizeof(shown));
	if (length < 0)
		return -1;
	if ((size_t)length == sizeof(eventfd_link) - 1 && !memcmp(shown, eventfd_link, (size_t)length))
		return 0;
	errno = EINVAL;
	return -1;
}

/* Duplicate a descriptor of another process.  As a thread, it need not lead
 * its process, and its own descriptor table counts: EINVAL before Linux 6.9.
 *
 * Opening a pidfd takes longer than all the rest, and a program registers more
 * than once: so the last one is kept.  While somebody has its number, a kept
 * pidfd means whom the number means; once nobody has, it is ESRCH for ever. */
int pfs_take(struct pfs_writer *writer, int pid, int as_thread, int target_fd)
{
	int flags = as_thread ? PFS_PIDFD_THREAD : 0;
	int taken;

	if (writer->pidfd >= 0 && writer->pid == pid && writer->flags == flags) {
		taken = (int)syscall(SYS_pidfd_getfd, writer->pidfd, target_fd, 0);
		if (taken >= 0 || errno != ESRCH)
			return taken;
	}
	if (writer->pidfd >= 0)
		close(writer->pidfd);
	writer->pid = pid;
	writer->flags = flags;
	writer->pidfd = (int)syscall(SYS_pidfd_open, pid, flags);
	if (writer->pidfd < 0)
		return -1;
	return (int)syscall(SYS_pidfd_getfd, writer->pidfd, target_fd, 0);
}

/* How a thread's open file and one of ours lie in an order that the kernel keeps
 * among all open files: 0, the same; 1, the thread's comes before; 2, after; or
 * -1.  The kernel compares; no file is asked. */
int pfs_file_order(int tid, int target_fd, int own_fd)
{
	return (int)syscall(SYS_kcmp, tid, getpid(), KCMP_FILE, target_fd, own_fd);
}

/* Whether two threads share a descriptor table: 1, 0, or -1. */
int pfs_same_table(int tid, int other_tid)
{
	long order = syscall(SYS_kcmp, tid, other_tid, KCMP_FILES, 0, 0);

	return order < 0 ? -1 : order == 0;
}
