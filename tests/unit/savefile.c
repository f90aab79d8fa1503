/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* memfd_create, pipe2 */
#include <sys/mman.h>

#include "check.h"
#include "child.h"
#include "fdio.h"
#include "savefile.h"

#define SIZE		(700u << 10)	/* more than a pipe holds */
#define TEXT		10000u
#define SOON_MS		20000

static uint8_t stream[SIZE], got[SIZE + 1];
static struct pm_fault fault;
static char home[] = "/tmp/pm-savefile-XXXXXX";

/* A head as libvirt packs it: the numbers as this or another machine. */
static size_t
put_head(uint8_t *out, const char *magic, uint32_t version, uint32_t text,
    uint32_t format, int is_big)
{
	const uint32_t field[5] = { version, text, 1, format, 500 };

	memset(out, 0, 92);
	memcpy(out, magic, 16);
	for (unsigned i = 0; i < 5; i++)
		for (unsigned n = 0; n < 4; n++)
			out[16 + 4 * i + n] = (uint8_t)(field[i] >>
			    8 * (is_big ? 3 - n : n));
	return 92;
}

static int
make_file(const void *bytes, size_t size)
{
	int fd = memfd_create("pm test", MFD_CLOEXEC);

	if (fd < 0 || pm_fd_write(fd, bytes, size) != PM_OK ||
	    lseek(fd, 0, SEEK_SET) != 0)
		child_fail("memfd_create");
	return fd;
}

/* What a program makes of the stream; 0 where it is not installed. */
static size_t
compress(const char *command, uint8_t *out, size_t room)
{
	char line[256];
	size_t size = 0;
	FILE *file;

	snprintf(line, sizeof(line), "%s/stream", home);
	file = fopen(line, "w");
	if (file == NULL || fwrite(stream, 1, SIZE, file) != SIZE ||
	    fclose(file) != 0)
		child_fail(line);
	snprintf(line, sizeof(line), "command -v %.*s >/dev/null && %s "
	    "<%s/stream", (int)strcspn(command, " "), command, command, home);
	file = popen(line, "r");
	if (file == NULL)
		child_fail("popen");
	size = fread(out, 1, room, file);
	return pclose(file) == 0 ? size : 0;
}

/* A whole save image in a file. */
static int
make_image(uint32_t format, int is_big, const void *bytes, size_t size)
{
	static uint8_t image[92 + TEXT + SIZE + 65536];
	size_t head = put_head(image, "LibvirtQemudSave", 2, TEXT, format,
	    is_big);

	memset(image + head, '<', TEXT);
	memcpy(image + head + TEXT, bytes, size);
	return make_file(image, head + TEXT + size);
}

/* The same as a pipe, of which somebody else writes what is left. */
static int piped_fd;

static void
copy_out(int in, int out)
{
	char buf[8192];
	ssize_t size;

	(void)in;
	while ((size = read(piped_fd, buf, sizeof(buf))) > 0)
		if (!child_tell(out, buf, (size_t)size))
			break;
}

static enum pm_status
begin(struct pm_savefile *savefile, int fd, unsigned seen)
{
	char magic[16];

	fault = (struct pm_fault){ .error = 0 };
	if (pm_fd_read(fd, magic, seen) != PM_OK)
		child_fail("read");
	return pm_savefile_open(savefile, fd, seen, &fault);
}

static size_t
read_all(int fd)
{
	size_t size = 0;
	ssize_t now;

	memset(got, 0, sizeof(got));
	while (size < sizeof(got) &&
	    (now = read(fd, got + size, sizeof(got) - size)) > 0)
		size += (size_t)now;
	return size;
}

/* 1 when all of it came back and the program was content. */
static int
reads_back(int fd, unsigned seen)
{
	struct pm_savefile savefile;
	int same = begin(&savefile, fd, seen) == PM_OK &&
	    read_all(savefile.fd) == SIZE && memcmp(got, stream, SIZE) == 0;

	if (pm_savefile_close(&savefile, &fault) != PM_OK)
		same = 0;
	if (!same)
		printf("# %s: %s\n", fault.subject, fault.text);
	close(fd);
	return same && savefile.fd == -1;
}

static int
reads_back_piped(int fd)
{
	struct child child;
	int same;

	piped_fd = fd;
	child = child_start(copy_out);
	same = reads_back(dup(child.from), 7);
	close(fd);
	return child_end(&child) == 0 && same;
}

/* 1 when the program is gone at once, and nothing is left of it. */
static int
drops(struct pm_savefile *savefile)
{
	pid_t program = savefile->program;

	errno = EDOM;
	alarm(SOON_MS / 1000);
	pm_savefile_drop(savefile);
	alarm(0);
	if (errno != EDOM || program == 0 || savefile->program != 0 ||
	    savefile->fd != -1)
		return 0;
	pm_savefile_drop(savefile);
	return waitpid(program, NULL, 0) < 0 && errno == ECHILD;
}

static void
test_format(const char *command, uint32_t format)
{
	static uint8_t packed[SIZE + 65536];
	size_t size = SIZE;
	struct pm_savefile savefile;
	const char *name = command == NULL ? "" : command;

	printf("# %s\n", command == NULL ? "raw" : command);
	memcpy(packed, stream, SIZE);
	if (command != NULL &&
	    (size = compress(command, packed, sizeof(packed))) == 0) {
		printf("ok %d # SKIP %s is not installed\n", ++check_run,
		    command);
		return;
	}
	CHECK(reads_back(make_image(format, 0, packed, size), 4));
	CHECK(reads_back(make_image(format, 1, packed, size), 12));
	CHECK(reads_back(make_image(format, 0, packed, size), 16));
	CHECK(reads_back_piped(make_image(format, 0, packed, size)));
	if (command == NULL)
		return;

	/* Cut, it is damaged, and it is told who says so. */
	CHECK(begin(&savefile, make_image(format, 0, packed, size / 2), 4)
	    == PM_OK);
	CHECK(read_all(savefile.fd) < SIZE);
	CHECK(pm_savefile_close(&savefile, &fault) == PM_ERR_CORRUPT);
	CHECK(strncmp(fault.text, name, strcspn(name, " ")) == 0);

	/* It is told too to who leaves some of it to be read. */
	CHECK(begin(&savefile, make_image(format, 0, packed, size / 2), 4)
	    == PM_OK);
	CHECK(pm_savefile_close(&savefile, &fault) == PM_ERR_CORRUPT);
	CHECK(begin(&savefile, make_image(format, 0, packed, size), 4)
	    == PM_OK);
	CHECK(pm_fd_read(savefile.fd, got, 1) == PM_OK && got[0] == stream[0]);
	CHECK(pm_savefile_close(&savefile, &fault) == PM_OK);
	CHECK(fault.text[0] == '\0');

	/* Who reads no further is not. */
	CHECK(begin(&savefile, make_image(format, 0, packed, size / 2), 4)
	    == PM_OK);
	CHECK(drops(&savefile));
}

/* It writes more than anybody will read. */
static void
test_endless(void)
{
	static uint8_t packed[SIZE];
	struct pm_savefile savefile;
	size_t size;
	FILE *file = popen("head -c 20000000 /dev/zero | gzip -c", "r");

	size = file == NULL ? 0 : fread(packed, 1, sizeof(packed), file);
	CHECK(pclose(file) == 0 && size > 0);
	CHECK(begin(&savefile, make_image(PM_SAVEFILE_GZIP, 0, packed, size),
	    4) == PM_OK);
	CHECK(pm_savefile_close(&savefile, &fault) == PM_ERR_CORRUPT);
	CHECK(strncmp(fault.text, "gzip", 4) == 0 &&
	    strstr(fault.text, "come to an end") != NULL);
	CHECK(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
}

/* It gets nothing to read, so it waits; it is killed. */
static void
test_killed(void)
{
	struct pm_savefile savefile = { .fd = 0 };
	uint8_t head[92];
	int end[2];

	pm_savefile_drop(&savefile);
	CHECK(fcntl(0, F_GETFD) >= 0);
	put_head(head, "LibvirtQemudSave", 2, 1, PM_SAVEFILE_GZIP, 0);
	if (pipe2(end, O_CLOEXEC) != 0 ||
	    !child_tell(end[1], head, sizeof(head)) ||
	    !child_tell(end[1], "", 1))
		child_fail("pipe");
	CHECK(begin(&savefile, end[0], 12) == PM_OK && savefile.program > 0);
	CHECK(kill(savefile.program, SIGKILL) == 0);
	CHECK(pm_savefile_close(&savefile, &fault) == PM_ERR_SYSTEM);
	CHECK(strstr(fault.text, "gzip") != NULL &&
	    strstr(fault.text, "signal 9") != NULL);

	/* Nobody but us ends this one. */
	if (!child_tell(end[1], head, sizeof(head)) ||
	    !child_tell(end[1], "", 1))
		child_fail("pipe");
	CHECK(begin(&savefile, end[0], 12) == PM_OK && savefile.program > 0);
	CHECK(drops(&savefile));
	close(end[0]);
	close(end[1]);
}

static void
test_not_installed(void)
{
	char *path = strdup(getenv("PATH"));
	struct pm_savefile savefile;

	if (path == NULL || setenv("PATH", "/nonexistent", 1) != 0)
		child_fail("setenv");
	CHECK(begin(&savefile, make_image(PM_SAVEFILE_LZOP, 0, "x", 1), 4)
	    == PM_ERR_SYSTEM);
	CHECK(strstr(fault.text, "lzop cannot be run: No such file") != NULL);
	CHECK(fault.error == ENOENT);
	CHECK(pm_savefile_close(&savefile, &fault) == PM_OK);
	setenv("PATH", path, 1);
	free(path);
}

/* Which machine it was is told by the order of bytes. */
static void
test_order(void)
{
	for (int is_big = 0; is_big < 2; is_big++) {
		struct pm_savefile_head head;
		int fd = make_image(0, is_big, "", 0);

		fault = (struct pm_fault){ .error = 0 };
		CHECK(lseek(fd, 16, SEEK_SET) == 16);
		CHECK(pm_savefile_head(&head, fd, 16, &fault) == PM_OK);
		CHECK(head.is_big_endian == is_big && head.text == TEXT);
		close(fd);
	}
}

static enum pm_status
judge(const char *magic, uint32_t version, uint32_t text, uint32_t format,
    size_t size, unsigned seen)
{
	uint8_t head[92 + 5] = { 0 };
	struct pm_savefile savefile;
	enum pm_status status;
	int fd;

	put_head(head, magic, version, text, format, 0);
	fd = make_file(head, size);
	status = begin(&savefile, fd, seen);
	if (status != PM_OK)
		printf("# %s\n", fault.text);
	if (pm_savefile_close(&savefile, &fault) != PM_OK)
		status = PM_END;
	close(fd);
	return status;
}

static void
test_refused(void)
{
	const char *good = "LibvirtQemudSave";

	CHECK(judge(good, 2, 5, 0, 97, 4) == PM_OK);
	CHECK(judge(good, 1, 5, 0, 97, 16) == PM_OK);
	CHECK(judge("LibvirtQemudPart", 2, 5, 0, 97, 4) == PM_ERR_REFUSED);
	CHECK(judge("LibvirtQemudPart", 2, 5, 0, 97, 12) == PM_ERR_REFUSED);
	/* Of a file, more may have been read than was compared. */
	CHECK(judge("LibvirtQemudPart", 2, 5, 0, 97, 16) == PM_ERR_REFUSED);
	CHECK(judge("LibvirtQemudHalf", 2, 5, 0, 97, 16) == PM_ERR_CORRUPT);
	CHECK(judge("LibvirtQemudHalf", 2, 5, 0, 97, 4) == PM_ERR_CORRUPT);
	CHECK(judge(good, 3, 5, 0, 97, 4) == PM_ERR_VERSION);
	CHECK(strstr(fault.text, "version 3,") != NULL);
	CHECK(judge(good, 0, 5, 0, 97, 4) == PM_ERR_CORRUPT);
	CHECK(judge(good, 2, 0, 0, 97, 4) == PM_ERR_CORRUPT);
	CHECK(judge(good, 2, (64u << 20) + 1, 0, 97, 4) == PM_ERR_CORRUPT);
	CHECK(judge(good, 2, 64u << 20, 0, 97, 4) == PM_ERR_TRUNCATED);
	CHECK(judge(good, 2, 5, 0, 96, 4) == PM_ERR_TRUNCATED);
	CHECK(judge(good, 2, 5, 0, 91, 4) == PM_ERR_TRUNCATED);
	CHECK(judge(good, 2, 5, 0, 4, 4) == PM_ERR_TRUNCATED);
	CHECK(judge(good, 2, 5, 6, 97, 4) == PM_ERR_REFUSED);
	CHECK(strstr(fault.text, "sparse") != NULL);
	CHECK(judge(good, 2, 5, 7, 97, 4) == PM_ERR_VERSION);
	CHECK(judge(good, 2, 5, 0, 97, 3) == PM_ERR_REFUSED);
}

/* One that opens an image and is killed, while much is still to come. */
static void
open_and_die(int in, int out)
{
	struct pm_savefile savefile;

	(void)in;
	if (begin(&savefile, piped_fd, 4) == PM_OK)
		child_tell(out, &savefile.program, sizeof(pid_t));
	raise(SIGKILL);
}

/* The program ends with it, as whoever inherits it is told. */
static void
test_death(void)
{
	static uint8_t packed[SIZE + 65536];
	size_t size = compress("gzip -c", packed, sizeof(packed));
	pid_t program = 0, ended = 0;
	struct child child;
	int how = 0;

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		child_fail("prctl");
	piped_fd = make_image(PM_SAVEFILE_GZIP, 0, packed, size);
	child = child_start(open_and_die);
	CHECK(child_hear(child.from, &program, sizeof(program)));
	CHECK(WIFSIGNALED(child_end(&child)));
	for (int ms = 0; program > 0 && ended == 0 && ms < SOON_MS; ms += 5) {
		ended = waitpid(program, &how, WNOHANG);
		child_nap(5);
	}
	CHECK(ended == program && ended > 0);
	if (program > 0 && ended == 0)
		kill(program, SIGKILL);
	CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGPIPE);
	close(piped_fd);
}

int
main(void)
{
	char path[64];
	uint64_t state = 88172645463325252;

	if (mkdtemp(home) == NULL)
		child_fail(home);
	/* Half of it does not compress, so that what is cut is missed. */
	for (size_t i = 0; i < SIZE; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		stream[i] = i / 1000 % 2 == 0 ? (uint8_t)(state >> 40)
		    : (uint8_t)i;
	}
	/* As pm's programs have it, and commands must not. */
	signal(SIGPIPE, SIG_IGN);
	test_format(NULL, 0);
	test_format("gzip -c", 1);
	test_format("bzip2 -c", 2);
	test_format("xz -c", 3);
	test_format("lzop -c", 4);
	test_format("zstd -qc", 5);
	test_killed();
	test_endless();
	test_not_installed();
	test_order();
	test_refused();
	test_death();
	snprintf(path, sizeof(path), "%s/stream", home);
	unlink(path);
	rmdir(home);
	return check_done();
}
