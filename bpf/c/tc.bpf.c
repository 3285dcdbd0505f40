/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The programs of tcx and clsact. */
#include "hook_tc.h"
#include "tunnel.h"

/* On the host's end of an endpoint's pair. */
SEC("tc") int tc_endpoint(hook_t *ctx)
{
	struct packet p = {};

	arrive(&p, ctx);
	return leave(&p, from_ep(&p));
}

/* On the device that the underlay comes in by. */
SEC("tc") int tc_uplink(hook_t *ctx)
{
	struct packet p = {};

	arrive(&p, ctx);
	return leave(&p, from_uplink(&p));
}

/* On the kernel's VXLAN device, where that writes and reads outer headers. */
SEC("tc") int tc_tunnel(hook_t *ctx)
{
	struct packet p = {};

	arrive(&p, ctx);
	return leave(&p, from_tunnel(&p));
}

char _license[] SEC("license") = "GPL";
