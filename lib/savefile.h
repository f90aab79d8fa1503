/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * savefile.h - what libvirt puts around QEMU's migration stream in a file.
 *
 * A save image is a header, a description of the machine, and the stream,
 * which may be compressed by one of the usual programs.  That program is
 * run to undo it, with the file as its standard input.  The format is that
 * of libvirt's src/qemu/qemu_saveimage.h, versions 1 and 2.
 *
 * The header: char magic[16]; then u32 each, in the byte order of the
 * machine that wrote it: version, bytes of the description, whether the
 * machine ran, format, offset of a cookie in the description, 14 unused.
 */
#ifndef PM_SAVEFILE_H
#define PM_SAVEFILE_H

#include <stdint.h>

#include <sys/types.h>

#include "fault.h"

#define PM_SAVEFILE_MAGIC	"LibvirtQemudSave"
#define PM_SAVEFILE_PARTIAL	"LibvirtQemudPart"	/* never finished */
#define PM_SAVEFILE_MAGIC_SIZE	16u
#define PM_SAVEFILE_HEAD_SIZE	92u
#define PM_SAVEFILE_SEEN_MIN	4u
#define PM_SAVEFILE_TEXT_MAX	(64u << 20)	/* bytes of the description */

enum pm_savefile_format {
	PM_SAVEFILE_RAW = 0,
	PM_SAVEFILE_GZIP = 1,
	PM_SAVEFILE_BZIP2 = 2,
	PM_SAVEFILE_XZ = 3,
	PM_SAVEFILE_LZOP = 4,
	PM_SAVEFILE_ZSTD = 5,
	PM_SAVEFILE_SPARSE = 6,		/* a mapped-ram file of QEMU's */
};

struct pm_savefile_head {
	uint32_t format;		/* one of those, or a newer one */
	uint32_t text;			/* bytes that follow the header */
	int is_big_endian;		/* the machine that wrote it */
};

struct pm_savefile {
	int fd;				/* gives QEMU's stream */
	pid_t program;			/* that writes it; 0 for none */
	const char *name;		/* of the program */
};

/*
 * Read the rest of the header from fd, of which the first bytes of the
 * magic were read and compared by the caller: seen of them, 4 to 16.  Where
 * fd is a file they are compared again.  No byte behind the header is read.
 * PM_ERR_TRUNCATED, PM_ERR_CORRUPT; PM_ERR_VERSION for a newer one;
 * PM_ERR_REFUSED for an image that was not finished.
 */
enum pm_status pm_savefile_head(struct pm_savefile_head *, int fd,
    unsigned seen, struct pm_fault *);

/*
 * The same, and pass over the description; then savefile->fd gives QEMU's
 * stream.  fd may be a pipe, and stays the caller's: a program reads from
 * it until close.  PM_ERR_SYSTEM when that is not installed, PM_ERR_VERSION
 * for a format that is not known, PM_ERR_REFUSED for one that cannot be
 * read from its beginning to its end.  To be closed or dropped in any case.
 */
enum pm_status pm_savefile_open(struct pm_savefile *, int fd, unsigned seen,
    struct pm_fault *);

/*
 * All of the stream was read: the program is judged by how it ends.  What it
 * still writes, the sum that it checks at the end say, is read and dropped.
 * PM_ERR_CORRUPT when it found the file damaged, or its output does not end
 * in 10 seconds or 16 MiB, by when it is killed; PM_ERR_SYSTEM when a signal
 * ended it; all of them naming it.  When the stream ends too early, this may
 * tell why, so it should be asked first.
 */
enum pm_status pm_savefile_close(struct pm_savefile *, struct pm_fault *);

/*
 * No more is read: kill the program, whatever it waits for, and wait until it
 * is gone.  Like close, it may be called again, and of one never opened when
 * it is all zeroes.
 */
void pm_savefile_drop(struct pm_savefile *);

#endif /* PM_SAVEFILE_H */
