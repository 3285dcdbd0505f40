/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The programs of XDP. */
#include "hook_xdp.h"
#include "decap.h"

/* On the host's end of an endpoint's pair. */
SEC("xdp.frags") int xdp_endpoint(hook_t *ctx)
{
	struct packet p = {};

	arrive(&p, ctx);
	return leave(&p, from_ep(&p));
}

/* On the device that the underlay comes in by. */
SEC("xdp.frags") int xdp_uplink(hook_t *ctx)
{
	struct packet p = {};

	arrive(&p, ctx);
	return leave(&p, from_uplink(&p));
}

char _license[] SEC("license") = "GPL";
