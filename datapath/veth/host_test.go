// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// hosts are two namespaces with a wire between them, and the far one's MAC.
func hosts(t *testing.T) (near, far *NS, mac [6]byte) {
	t.Helper()
	near, far = newNS(t), newNS(t)
	p, err := Create(Config{Name: "up0", Host: near, NS: far, Peer: "down0", MAC: [6]byte{2, 0, 0, 0, 9, 9}, MTU: 9000,
		Addrs: prefixes("192.0.2.2/24", "2001:db8::2/64")})
	if err != nil {
		t.Fatal(err)
	}
	run(t, near, "ip addr add 192.0.2.1/24 dev up0")
	run(t, near, "ip addr add 2001:db8::1/64 dev up0 nodad")
	run(t, far, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	return near, far, p.MAC
}

func TestUplink(t *testing.T) {
	near, _, _ := hosts(t)
	err := near.Do(func() error {
		u, err := UplinkOf("up0")
		if err != nil {
			return err
		}
		if u.MTU != 9000 || !u.Up || u.Driver != "veth" || !u.NativeXDP || u.TxQueues != 1 || u.MAC == ([6]byte{}) {
			t.Errorf("got %+v", u)
		}
		for i, want := range prefixes("192.0.2.1/24", "2001:db8::1/64") {
			if len(u.Addrs) != 2 || u.Addrs[i] != want {
				t.Errorf("addresses: got %v, want %v in it", u.Addrs, want)
			}
		}
		_, err = UplinkOf("absent")
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "read device absent") {
			t.Errorf("absent: got %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestResolve(t *testing.T) {
	near, _, mac := hosts(t)
	run(t, near, "ip route add 198.51.100.0/24 via 192.0.2.2 mtu 1400")
	run(t, near, "ip route add 203.0.113.0/24 via inet6 2001:db8::2")
	run(t, near, "ip -6 route add 2001:db8:1::/48 via 2001:db8::2")
	run(t, near, "ip route add unreachable 198.18.0.0/15")
	run(t, near, "ip link set lo up")
	for to, want := range map[string]Hop{
		"192.0.2.2":     {Src: netip.MustParseAddr("192.0.2.1"), MTU: 9000},
		"198.51.100.1":  {Src: netip.MustParseAddr("192.0.2.1"), MTU: 1400},
		"203.0.113.1":   {Src: netip.MustParseAddr("192.0.2.1"), MTU: 9000},
		"2001:db8::2":   {Src: netip.MustParseAddr("2001:db8::1"), MTU: 9000},
		"2001:db8:1::5": {Src: netip.MustParseAddr("2001:db8::1"), MTU: 9000},
	} {
		got, err := resolveIn(t, near, to)
		want.Ifindex, want.Local, want.Remote = got.Ifindex, got.Local, mac
		if err != nil || got != want || got.Local == mac || got.Ifindex == 0 {
			t.Errorf("%s: got %+v, %v, want %+v", to, got, err, want)
		}
	}
	for to, want := range map[string]string{
		"192.0.2.9":  "192.0.2.9 does not answer on device",
		"192.0.2.1":  "no other host's address",
		"198.18.0.1": "find route",
		"10.0.0.1":   "find route: network is unreachable",
		"127.0.0.1":  "no other host's address",
	} {
		if hop, err := resolveIn(t, near, to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v, want %q", to, hop, err, want)
		}
	}
}

func resolveIn(t *testing.T, ns *NS, ip string) (hop Hop, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = ns.Do(func() error { hop, err = Resolve(ctx, netip.MustParseAddr(ip)); return nil })
	return hop, err
}

// Who waits for an answer can be told to stop.
func TestResolveEndsWithContext(t *testing.T) {
	near, _, _ := hosts(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := near.Do(func() error {
		_, err := Resolve(ctx, netip.MustParseAddr("192.0.2.9"))
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCollectMD(t *testing.T) {
	ns := newNS(t)
	err := ns.Do(func() error {
		i, err := CollectMD("fx", 4789)
		if err != nil {
			return err
		}
		if again, err := CollectMD("fx", 4789); err != nil || again != i {
			t.Errorf("again: got %d, %v, want %d", again, err, i)
		}
		if _, err := CollectMD("fx", 4790); !errors.Is(err, ErrExists) {
			t.Errorf("on another port: got %v", err)
		}
		if _, err := CollectMD("fy", 4789); !errors.Is(err, ErrExists) {
			t.Errorf("a second on that port: got %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "device", run(t, ns, "ip -d link show dev fx"), "vxlan external", "dstport 4789", "nolearning", "udp6zerocsumrx", "UP")
	run(t, ns, "ip link add brx type bridge")
	if err := ns.Do(func() error { _, err := CollectMD("brx", 4791); return err }); !errors.Is(err, ErrExists) {
		t.Errorf("a name that somebody has: got %v", err)
	}
}
