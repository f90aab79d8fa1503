/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nonblock - run a command with standard input and output set not to block,
 * as a parent may leave them: nonblock COMMAND [ARGUMENT...].
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	for (int fd = 0; fd < 2; fd++) {
		int flags = fcntl(fd, F_GETFL);

		if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
			perror("nonblock");
			return 125;
		}
	}
	if (argc < 2)
		return 125;
	execvp(argv[1], &argv[1]);
	perror(argv[1]);
	return 127;
}
