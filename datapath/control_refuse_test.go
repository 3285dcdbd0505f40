// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// Every refusal names the object, the cause, who is in the way, and what
// helps; and changes nothing.
func TestControlRefuses(t *testing.T) {
	s := newSite(t)
	uplink(t)
	c := s.start(t)
	ctx := t.Context()
	addNetwork(t, c)
	if _, err := c.SetUnderlay(ctx, UnderlayRecord{Ifname: "up0", Encap: EncapBPF}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddPeer(ctx, PeerRecord{IP: vtepR}); err != nil {
		t.Fatal(err)
	}
	if err := c.AddRemotes(ctx, []RemoteRecord{{VNI: 100, MAC: macR, Addrs: []netip.Addr{ipR}, Peer: vtepR}}); err != nil {
		t.Fatal(err)
	}
	a := endpoint(t, "a", "10.0.0.1/24")
	a.MAC = macA
	add(t, c, a)
	b := endpoint(t, "b", "10.0.0.2/24")
	before := c.Snapshot()
	for name, test := range refusals(a, b) {
		err := test.call(ctx, c)
		var object *ObjectError
		if err == nil || !errors.Is(err, test.want) || !errors.As(err, &object) || object.Kind == "" || object.Name == "" && name != "no name" || object.Verb == "" {
			t.Errorf("%s: got %v, want %v, with an object", name, err, test.want)
			continue
		}
		for _, part := range strings.Split(test.text, "|") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %q, want %q in it", name, err, part)
			}
		}
	}
	if after := c.Snapshot(); after.Revision != before.Revision {
		t.Errorf("something changed: got\n%+v, want\n%+v", after, before)
	}
	clean(t, c)
	if n := len(strings.Fields(pairs(t, s))); n != 1 {
		t.Errorf("got %d pairs, want 1", n)
	}
}

type refusal struct {
	call func(context.Context, *Control) error
	want error
	text string
}

func refusals(a, b EndpointRecord) map[string]refusal {
	with := func(r EndpointRecord, change func(*EndpointRecord)) func(context.Context, *Control) error {
		return func(ctx context.Context, c *Control) error {
			r.Addrs = slices.Clone(r.Addrs)
			change(&r)
			_, err := c.AddEndpoint(ctx, r)
			return err
		}
	}
	network := func(r NetworkRecord) func(context.Context, *Control) error {
		return func(ctx context.Context, c *Control) error { _, err := c.AddNetwork(ctx, r); return err }
	}
	peer := func(r PeerRecord) func(context.Context, *Control) error {
		return func(ctx context.Context, c *Control) error { _, err := c.AddPeer(ctx, r); return err }
	}
	remote := func(r RemoteRecord) func(context.Context, *Control) error {
		return func(ctx context.Context, c *Control) error { return c.AddRemotes(ctx, []RemoteRecord{r}) }
	}
	underlay := func(r UnderlayRecord) func(context.Context, *Control) error {
		return func(ctx context.Context, c *Control) error { _, err := c.SetUnderlay(ctx, r); return err }
	}
	prefix := netip.MustParsePrefix
	return map[string]refusal{
		"name of another":     {with(b, func(r *EndpointRecord) { r.Name = "a" }), ErrConflict, "add endpoint a: name|endpoint a's|delete that one first"},
		"MTU of another":      {with(a, func(r *EndpointRecord) { r.MTU = 1400 }), ErrConflict, "its MTU is 1450, not 1400"},
		"MAC of an endpoint":  {with(b, func(r *EndpointRecord) { r.MAC = macA }), ErrConflict, "add endpoint b: MAC 02:00:00:00:00:0a in network 100|endpoint a's"},
		"MAC of a remote":     {with(b, func(r *EndpointRecord) { r.MAC = macR }), ErrConflict, "remote 100/02:00:00:00:01:01 behind peer 192.0.2.2's"},
		"address of endpoint": {with(b, func(r *EndpointRecord) { r.Addrs[0] = prefix("10.0.0.1/16") }), ErrConflict, "address 10.0.0.1 in network 100|endpoint a's"},
		"address of a remote": {with(b, func(r *EndpointRecord) { r.Addrs[0] = prefix("10.0.0.11/24") }), ErrConflict, "remote 100/02:00:00:00:01:01"},
		"no network":          {with(b, func(r *EndpointRecord) { r.VNI = 7 }), ErrNotFound, "network 7|add the network first"},
		"no namespace":        {with(b, func(r *EndpointRecord) { r.NetNS += "x" }), ErrNotFound, b.NetNS + "x"},
		"no path":             {with(b, func(r *EndpointRecord) { r.NetNS = "b" }), ErrInvalid, `"b" is no absolute path`},
		"not a namespace":     {with(b, func(r *EndpointRecord) { r.NetNS = "/proc/self/stat" }), ErrNotFound, "/proc/self/stat"},
		"VNI too large":       {with(b, func(r *EndpointRecord) { r.VNI = 1 << 24 }), ErrInvalid, "VNI 16777216 is not between 0 and 16777215"},
		"MAC of a group":      {with(b, func(r *EndpointRecord) { r.MAC = MAC{1} }), ErrInvalid, "is a group's"},
		"name of a device":    {with(b, func(r *EndpointRecord) { r.Ifname = "eth%d" }), ErrInvalid, `"eth%d" is no name of a device`},
		"name of all devices": {with(b, func(r *EndpointRecord) { r.Ifname = "all" }), ErrInvalid, `"all" is no name of a device`},
		"no name":             {with(b, func(r *EndpointRecord) { r.Name = "" }), ErrInvalid, "no name of an endpoint"},
		"name with a space":   {with(b, func(r *EndpointRecord) { r.Name = "b c" }), ErrInvalid, `"b c"`},
		"nothing to go by":    {with(b, func(r *EndpointRecord) { r.Addrs = nil }), ErrInvalid, "neither MAC nor address"},
		"no address of host":  {with(b, func(r *EndpointRecord) { r.Addrs[0] = prefix("224.0.0.1/24") }), ErrInvalid, "224.0.0.1 is not one of a host"},
		"address twice":       {with(b, func(r *EndpointRecord) { r.Addrs = append(r.Addrs, r.Addrs[0]) }), ErrInvalid, "10.0.0.2 is there twice"},
		"long ifname":         {with(b, func(r *EndpointRecord) { r.Ifname = "sixteencharacter" }), ErrInvalid, "1 to 15 characters"},
		"ifname is taken":     {with(b, func(r *EndpointRecord) { r.Ifname = "lo" }), ErrConflict, "lo in"},
		"MTU too large":       {with(b, func(r *EndpointRecord) { r.MTU = 1451 }), ErrInvalid, "MTU 1451 is more than the 1450 that tunnels carry: up0 has 1500, outer headers take 50"},
		"MTU too small":       {with(b, func(r *EndpointRecord) { r.MTU = 67 }), ErrInvalid, "less than the 68 that IPv4 needs"},
		"MTU for IPv6":        {with(b, func(r *EndpointRecord) { r.MTU, r.Addrs[0] = 1279, prefix("fd00::2/64") }), ErrInvalid, "less than the 1280 that IPv6 needs"},
		"mode unknown":        {with(b, func(r *EndpointRecord) { r.Mode = "fast" }), ErrInvalid, `mode "fast" is neither tcx nor xdp`},
		"gateway elsewhere": {with(b, func(r *EndpointRecord) {
			r.Routes = []Route{{To: prefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.1")}}
		}), ErrInvalid, "none of the addresses"},

		"network changed":   {network(NetworkRecord{VNI: 100, MTU: 1400}), ErrConflict, "add network 100|set it, or delete it first"},
		"network's VNI":     {network(NetworkRecord{VNI: 1 << 24}), ErrInvalid, "VNI 16777216"},
		"network's MTU":     {network(NetworkRecord{VNI: 101, MTU: 9000}), ErrInvalid, "MTU 9000 is more than the 1450"},
		"network's rate":    {network(NetworkRecord{VNI: 101, Broadcast: Broadcast{On: true, PerSecond: -1}}), ErrInvalid, "-1 per second"},
		"network in use":    {func(ctx context.Context, c *Control) error { return c.DeleteNetwork(ctx, 100) }, ErrInUse, "delete network 100: in use|endpoint a's"},
		"peer is this host": {peer(PeerRecord{IP: vtepUs}), ErrInvalid, "192.0.2.1 is this host's own"},
		"peer of IPv6":      {peer(PeerRecord{IP: ip6A}), ErrInvalid, "the underlay up0 has no address of IPv6"},
		"peer is no host":   {peer(PeerRecord{IP: netip.MustParseAddr("0.0.0.0")}), ErrInvalid, "0.0.0.0"},
		"peer changed":      {peer(PeerRecord{IP: vtepR, Down: true}), ErrConflict, "set it, or delete it first"},
		"peer in use":       {func(ctx context.Context, c *Control) error { return c.DeletePeer(ctx, vtepR) }, ErrInUse, "remote 100/02:00:00:00:01:01's|delete the remotes"},

		"remote's MAC":      {remote(RemoteRecord{VNI: 100, MAC: macA, Peer: vtepR}), ErrConflict, "add remote 100/02:00:00:00:00:0a|endpoint a's"},
		"remote's address":  {remote(RemoteRecord{VNI: 100, MAC: macB, Addrs: []netip.Addr{ipA}, Peer: vtepR}), ErrConflict, "address 10.0.0.1|endpoint a's"},
		"remote moved":      {remote(RemoteRecord{VNI: 100, MAC: macR, Peer: vtepR}), ErrConflict, "set it, or delete it first"},
		"remote's network":  {remote(RemoteRecord{VNI: 7, MAC: macB, Peer: vtepR}), ErrNotFound, "network 7"},
		"remote's peer":     {remote(RemoteRecord{VNI: 100, MAC: macB, Peer: vtepUs}), ErrNotFound, "peer 192.0.2.1|add the peer first"},
		"underlay in use":   {func(ctx context.Context, c *Control) error { return c.DeleteUnderlay(ctx) }, ErrInUse, "peer 192.0.2.2's"},
		"underlay unknown":  {underlay(UnderlayRecord{Ifname: "none0"}), ErrNotFound, "none0"},
		"underlay's encap":  {underlay(UnderlayRecord{Ifname: "up0", Encap: "ipip"}), ErrInvalid, `"ipip"`},
		"underlay's addr":   {underlay(UnderlayRecord{Ifname: "up0", Encap: EncapBPF, IPv4: ipA}), ErrInvalid, "no device of this host has the address 10.0.0.1"},
		"underlay's family": {underlay(UnderlayRecord{Ifname: "up0", Encap: EncapBPF, IPv6: netip.IPv6Loopback()}), ErrInvalid, "::1"},
	}
}

// The same twice is a success, and no change.
func TestControlIsIdempotent(t *testing.T) {
	s := newSite(t)
	uplink(t)
	c := s.start(t)
	a := endpoint(t, "a", "10.0.0.1/24")
	for range 2 {
		if err := script(t.Context(), c, a); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the peer's next hop is known", func() bool { return c.Status().StalePeers == 0 })
	revision := c.Snapshot().Revision
	if err := script(t.Context(), c, a); err != nil || c.Snapshot().Revision != revision {
		t.Errorf("the third time: %v, revision %d, want %d", err, c.Snapshot().Revision, revision)
	}
	for range 2 {
		if err := unscript(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	snap := c.Snapshot()
	if len(snap.Endpoints)+len(snap.Networks)+len(snap.Peers)+len(snap.Remotes) != 0 || snap.Underlay != nil {
		t.Errorf("left: %+v", snap)
	}
	clean(t, c)
}
