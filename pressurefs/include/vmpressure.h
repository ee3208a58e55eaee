/* SPDX-License-Identifier: MIT */
/*
 * vmpressure.h: an eventfd that the kernel's memory pressure makes readable.
 *
 * Header only.  Compile with `pressurefs --cflags`; see pressurefs/share/examples/cache.c.
 *
 *	int fd = vmpressure_fd(VM_PRESSURE_LOW);
 *
 * Poll fd for POLLIN.  When it is readable, read its 8 bytes, ignore what they say, and let go of
 * memory.  close(fd) ends the registration.  So does the end of the mount or of the cgroup, which
 * makes fd readable once more: whoever wants to go on looks for a mount and registers again.
 *
 * It takes what glibc declares by default; with -std=c11 and the like, -D_GNU_SOURCE as well.
 */
#ifndef VMPRESSURE_H
#define VMPRESSURE_H

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmpressure_level {
	VM_PRESSURE_LOW = 0,    /* memory is being reclaimed */
	VM_PRESSURE_MEDIUM = 1, /* most of what is scanned cannot be reclaimed */
	VM_PRESSURE_OOM = 2,    /* next to nothing can */
};

/* "VMP" in the high bits, the version of the struct in the low eight. */
#define VMPRESSURE_NOTIFY_MAGIC1 0x564d5001u

/* What is written to vmpressure, in one write; little-endian on every machine. */
struct vmpressure_notify {
	uint32_t magic;
	uint32_t level;
	int32_t event_fd;
	int32_t control_fd; /* -1: none */
};

/*
 * Register an eventfd of the caller in one directory of a mount: the mount itself for the whole
 * machine.  0, or -1 and errno as write(2) and open(2) say.
 */
static inline int vmpressure_register(const char *directory, enum vmpressure_level level, int event_fd)
{
	static const char name[] = "/vmpressure";
	struct vmpressure_notify notify;
	size_t length = strlen(directory);
	char *path = (char *)malloc(length + sizeof(name));
	ssize_t written;
	int control, error;

	if (!path)
		return -1;
	memcpy(path, directory, length);
	memcpy(path + length, name, sizeof(name));
	control = open(path, O_WRONLY | O_CLOEXEC);
	free(path);
	if (control < 0)
		return -1;
	notify.magic = htole32(VMPRESSURE_NOTIFY_MAGIC1);
	notify.level = htole32((uint32_t)level);
	notify.event_fd = (int32_t)htole32((uint32_t)event_fd);
	notify.control_fd = -1;
	written = write(control, &notify, sizeof(notify));
	error = errno;
	close(control);
	errno = error;
	return written < 0 ? -1 : 0;
}

/* Undo the octal escapes of mountinfo, in place. */
static inline void vmpressure_unescape(char *path)
{
	char *to = path;

	while (*path) {
		if (path[0] == '\\' && path[1] && path[2] && path[3]) {
			*to++ = (char)((path[1] - '0') << 6 | (path[2] - '0') << 3 | (path[3] - '0'));
			path += 4;
		} else {
			*to++ = *path++;
		}
	}
	*to = '\0';
}

/*
 * Find the mount: $PRESSUREFS_MOUNT, else the first fuse.pressurefs in mountinfo.  The caller frees
 * it.  NULL and ENOENT where there is none.
 */
static inline char *vmpressure_mount(void)
{
	const char *named = getenv("PRESSUREFS_MOUNT");
	char *line = NULL, *found = NULL;
	size_t size = 0;
	FILE *mountinfo;

	if (named && *named)
		return strdup(named);
	mountinfo = fopen("/proc/self/mountinfo", "re");
	if (!mountinfo)
		return NULL;
	while (!found && getline(&line, &size, mountinfo) >= 0) {
		char *rest = NULL, *word = strtok_r(line, " ", &rest), *mountpoint = NULL;

		/* Four fields before the mountpoint; the type follows a lone dash. */
		for (int field = 1; word; field++, word = strtok_r(NULL, " ", &rest)) {
			if (field == 5)
				mountpoint = word;
			if (field > 6 && strcmp(word, "-") == 0)
				break;
		}
		word = word ? strtok_r(NULL, " ", &rest) : NULL;
		if (word && mountpoint && strcmp(word, "fuse.pressurefs") == 0) {
			vmpressure_unescape(mountpoint);
			found = strdup(mountpoint);
		}
	}
	free(line);
	fclose(mountinfo);
	if (!found)
		errno = ENOENT;
	return found;
}

/* An eventfd, close-on-exec, that events of the whole machine at `level` or above make readable; -1 and errno. */
static inline int vmpressure_fd(enum vmpressure_level level)
{
	char *mount = vmpressure_mount();
	int event_fd, error;

	if (!mount)
		return -1;
	event_fd = eventfd(0, EFD_CLOEXEC);
	if (event_fd >= 0 && vmpressure_register(mount, level, event_fd) < 0) {
		error = errno;
		close(event_fd);
		errno = error;
		event_fd = -1;
	}
	free(mount);
	return event_fd;
}

#ifdef __cplusplus
}
#endif

#endif
