// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"foundry/integration/env"
)

// newNS makes a namespace that goes with the test.
func newNS(t testing.TB) *NS {
	t.Helper()
	env.RequireRoot(t)
	ns, err := NewNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// see runs a command in a namespace and returns what it says.
func see(t testing.TB, ns *NS, command string) (out string) {
	t.Helper()
	err := ns.do(func() error {
		words := strings.Fields(command)
		b, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		out = string(b)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

func example(ns *NS) Config {
	return Config{Name: "fe-1", NS: ns, MAC: [6]byte{2, 0, 0, 0, 0, 0xa}, MTU: 1450,
		Addrs:  []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64")},
		Routes: []Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.254")}, {To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00::fe")}}}
}

func TestCreate(t *testing.T) {
	ns := newNS(t)
	c := example(ns)
	p, err := Create(c)
	if err != nil {
		t.Fatal(err)
	}
	host, err := net.InterfaceByName("fe-1")
	if err != nil || host.Index != p.Ifindex {
		t.Fatalf("host's end: got %+v, %v, want number %d", host, err, p.Ifindex)
	}
	if addrs, err := host.Addrs(); err != nil || len(addrs) != 0 {
		t.Errorf("addresses of the host's end: got %v, %v", addrs, err)
	}
	t.Log(see(t, ns, "ip -d addr"), see(t, ns, "ip route"), see(t, ns, "ip -6 route"), see(t, nil, "ip -d link show fe-1"))
	if _, err := Create(c); !errors.Is(err, ErrExists) {
		t.Errorf("the same again: %v", err)
	} else {
		t.Log(err)
	}
	c.Name = "fe-2"
	if _, err := Create(c); !errors.Is(err, ErrExists) {
		t.Errorf("the same again: %v", err)
	} else {
		t.Log(err)
	}
	c.XDP, c.Peer = true, "eth1"
	c.Addrs[0], c.Addrs[1], c.Routes = netip.MustParsePrefix("10.0.1.1/24"), netip.MustParsePrefix("fd01::1/64"), nil
	if _, err := Create(c); err != nil {
		t.Error(err)
	}
	t.Log(see(t, nil, "ip -d link show fe-2"))
	for range 2 {
		if err := errors.Join(Delete("fe-1"), Delete("fe-2")); err != nil {
			t.Error(err)
		}
	}
	if err := Delete("lo"); err == nil {
		t.Error("lo was deleted")
	} else {
		t.Log(err)
	}
	if i, err := CollectMD("vx", 4789); err != nil {
		t.Error(err)
	} else if again, err := CollectMD("vx", 4789); err != nil || again != i {
		t.Error(again, err)
	}
	if _, err := CollectMD("vx", 4790); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	t.Log(see(t, nil, "ip -d link show vx"))
}
