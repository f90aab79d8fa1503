/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migration.c - a migration stream of a guest of so many pages, each with
 * content, that were sent in so many passes and changed between them.
 *
 *	migration PAGES PASSES >STREAM
 */
#include <stdio.h>

#include "../unit/migration.h"

static void
put(struct migration *m)
{
	if (fwrite(m->bytes, 1, m->size, stdout) != m->size) {
		perror("migration");
		exit(1);
	}
	m->size = 0;
}

int
main(int argc, char *argv[])
{
	unsigned pages, passes;
	struct migration m;

	if (argc != 3) {
		fprintf(stderr, "usage: migration PAGES PASSES\n");
		return 2;
	}
	pages = (unsigned)strtoul(argv[1], NULL, 10);
	passes = (unsigned)strtoul(argv[2], NULL, 10);
	m_open(&m);
	m_configuration(&m, "pc-i440fx-7.2");
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, (uint64_t)pages * M_PAGE | 4, 8);
	m_block(&m, "pc.ram", pages);
	m_end_of_ram(&m);
	for (unsigned pass = 1; pass <= passes; pass++) {
		m_section(&m, pass < passes ? 2 : 3, M_RAM, NULL, 0);
		for (unsigned page = 0; page < pages; page++) {
			m_page(&m, pass == 1 && page == 0 ? "pc.ram" : NULL,
			    page, page * 16 + pass);
			put(&m);
		}
		m_end_of_ram(&m);
	}
	m_devices(&m);
	put(&m);
	return 0;
}
