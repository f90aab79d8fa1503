/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "cli.h"
#include "net_options.h"
#include "wire.h"

struct net_options net_options = {
	.reconnect = "30s", .keep_alive = "20s", .window = "32M",
};

/* A wrong address or key is the user's slip, not the network's. */
static void
check(enum pm_status status)
{
	if (status == PM_ERR_REFUSED)
		cli_die(CLI_USAGE, "%s: %s", cli_fault.subject,
		    cli_fault.text);
	cli_check(status);
}

static int
wants_certs(void)
{
	return net_options.cert != NULL || net_options.key != NULL ||
	    net_options.ca != NULL || net_options.peer != NULL;
}

static void
load_certs(struct pm_tls_keys **keys, int listens)
{
	static char host[PM_NET_HOST_MAX];
	const char *peer = net_options.peer;

	if (net_options.cert == NULL || net_options.key == NULL ||
	    net_options.ca == NULL)
		cli_die(CLI_USAGE,
		    "--tls-cert, --tls-key and --tls-ca need each other");
	if (peer == NULL && !listens) {
		pm_net_host(cli_operand(), host);
		peer = host;
	}
	if (peer == NULL || *peer == '\0')
		cli_die(CLI_USAGE, "--tls-cert: needs --tls-peer, the name "
		    "of the other end");
	check(pm_tls_load_certs(keys, net_options.cert, net_options.key,
	    net_options.ca, peer, &cli_fault));
}

void
net_open(struct pm_net *net, struct pm_tls_keys **keys, int listens)
{
	*keys = NULL;
	if (net_options.psk != NULL && wants_certs())
		cli_die(CLI_USAGE, "--tls-psk: not with certificates");
	if (net_options.psk != NULL)
		check(pm_tls_load_psk(keys, net_options.psk, &cli_fault));
	else if (wants_certs())
		load_certs(keys, listens);
	check(pm_net_resolve(net, cli_operand(), listens, *keys != NULL ||
	    net_options.insecure, &cli_fault));
}

static uint64_t
time_of(const char *option, const char *text)
{
	return strcmp(text, "0") == 0 ? 0 : cli_time(option, text);
}

uint64_t
net_break_us(void)
{
	return time_of("--reconnect", net_options.reconnect);
}

uint64_t
net_silence_us(void)
{
	uint64_t us = time_of("--keep-alive", net_options.keep_alive);

	if (us < 100000 || us > UINT64_C(86400000000))
		cli_die(CLI_USAGE, "--keep-alive: %s: not in 100ms..24h",
		    net_options.keep_alive);
	return us;
}

uint32_t
net_frames(void)
{
	uint64_t size = cli_size("--window", net_options.window);
	uint64_t frames = size / PM_WIRE_DATA_MAX;

	if (frames < PM_WIRE_FRAMES_MIN || frames > PM_WIRE_FRAMES_MAX)
		cli_die(CLI_USAGE, "--window: %s: not in 5M..20G",
		    net_options.window);
	return (uint32_t)frames;
}
