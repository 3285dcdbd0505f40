// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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

// run runs a command in a namespace and returns what it says.
func run(t testing.TB, ns *NS, command string) (out string) {
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

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// example is what a container usually gets.
func example(ns *NS) Config {
	return Config{Name: "fe-1", NS: ns, MAC: [6]byte{2, 0, 0, 0, 0, 0xa}, MTU: 1450, Addrs: prefixes("10.0.0.1/24", "fd00::1/64"),
		Routes: []Route{{To: prefixes("0.0.0.0/0")[0], Via: netip.MustParseAddr("10.0.0.254"), MTU: 1400},
			{To: prefixes("::/0")[0], Via: netip.MustParseAddr("fd00::fe")}, {To: prefixes("192.0.2.7/24")[0]}}}
}

// make creates a pair that goes with the test.
func mustCreate(t testing.TB, c Config) Pair {
	t.Helper()
	p, err := Create(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Delete(c.Name) })
	return p
}

func contains(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: got\n%s\nwant %q in it", what, got, w)
		}
	}
}

func TestCreate(t *testing.T) {
	ns := newNS(t)
	c := example(ns)
	// As in a namespace of Docker's: no IPv6 unless a device asks.
	run(t, ns, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
	p := mustCreate(t, c)
	contains(t, "addresses", run(t, ns, "ip addr show dev eth0"), "mtu 1450", "state UP", "link/ether 02:00:00:00:00:0a",
		"inet 10.0.0.1/24 brd 10.0.0.255", "inet6 fd00::1/64 scope global nodad", "inet6 fe80::ff:fe00:a/64 scope link")
	begin := time.Now()
	env.Eventually(t, "no address waits for other owners", func() bool {
		return !strings.Contains(run(t, ns, "ip addr show dev eth0"), "tentative")
	})
	if d := time.Since(begin); d > time.Second*env.Slowness() {
		t.Errorf("addresses waited %v for other owners", d)
	}
	contains(t, "routes", run(t, ns, "ip route"), "default via 10.0.0.254 dev eth0 mtu 1400", "192.0.2.0/24 dev eth0 scope link")
	contains(t, "routes", run(t, ns, "ip -6 route"), "default via fd00::fe dev eth0", "fd00::/64 dev eth0")
	host, err := net.InterfaceByName("fe-1")
	if err != nil || host.Index != p.Ifindex || host.MTU != 1450 || host.Flags&net.FlagUp == 0 {
		t.Fatalf("host's end: got %+v, %v, want number %d, up, MTU 1450", host, err, p.Ifindex)
	}
	if got := host.HardwareAddr.String(); got != "06:00:00:00:00:0a" {
		t.Errorf("MAC of the host's end: got %s: udev would give it another", got)
	}
	if addrs, err := host.Addrs(); err != nil || len(addrs) != 0 {
		t.Errorf("addresses of the host's end: got %v, %v", addrs, err)
	}
	if p.MAC != c.MAC || p.Name != "fe-1" {
		t.Errorf("pair: got %+v", p)
	}
	found, err := Find(p.Ifindex)
	if found.MAC = p.MAC; err != nil || found != p {
		t.Errorf("found: got %+v, %v, want %+v", found, err, p)
	}
	if diffs, err := Check(p, c); err != nil || len(diffs) != 0 {
		t.Errorf("check: got %q, %v", diffs, err)
	}
	for range 2 {
		if err := Delete("fe-1"); err != nil {
			t.Error(err)
		}
	}
	if _, err := Find(p.Ifindex); !errors.Is(err, ErrNotFound) {
		t.Errorf("find what is gone: %v", err)
	}
	if diffs, err := Check(p, c); err != nil || len(diffs) != 2 {
		t.Errorf("check what is gone: got %q, %v", diffs, err)
	}
}

// Without an MAC, an MTU, IPv6; and with the host's end in a namespace too.
func TestCreateLeast(t *testing.T) {
	host, ns := newNS(t), newNS(t)
	p, err := Create(Config{Name: "fe-1", Host: host, NS: ns, Peer: "net1"})
	if err != nil {
		t.Fatal(err)
	}
	if p.MAC == ([6]byte{}) {
		t.Error("no MAC")
	}
	contains(t, "inside", run(t, ns, "ip link show dev net1"), "mtu 1500", net.HardwareAddr(p.MAC[:]).String())
	contains(t, "host's end", run(t, host, "ip link show dev fe-1"), "state UP")
}

// What fails leaves nothing, neither device nor descriptor, and says why.
func TestCreateFails(t *testing.T) {
	ns := newNS(t)
	run(t, nil, "ip link add br-x type bridge")
	t.Cleanup(func() { run(t, nil, "ip link del br-x") })
	run(t, ns, "ip link add eth7 type bridge")
	before, holding := see(t, ns), held(t)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
		is     error
	}{
		"name taken":        {func(c *Config) { c.Name = "br-x" }, "create pair br-x: name is taken by device", ErrExists},
		"taken inside":      {func(c *Config) { c.Peer = "eth7" }, "eth7 in the container: name is taken by device 2 (bridge", ErrExists},
		"long name":         {func(c *Config) { c.Name = "0123456789abcdef" }, "no name of a device", nil},
		"name template":     {func(c *Config) { c.Peer = "eth%d" }, "no name of a device", nil},
		"no namespace":      {func(c *Config) { c.NS = nil }, "no network namespace", nil},
		"small MTU":         {func(c *Config) { c.MTU = 67 }, "MTU 67", nil},
		"small MTU of IPv6": {func(c *Config) { c.MTU = 1279 }, "IPv6 needs an MTU of 1280", nil},
		"MAC of a group":    {func(c *Config) { c.MAC[0] = 1 }, "is a group's", nil},
		"same address":      {func(c *Config) { c.Addrs = append(c.Addrs, c.Addrs[0]) }, "add address 10.0.0.1/24: file exists", os.ErrExist},
		"no way":            {func(c *Config) { c.Routes[0].Via = netip.MustParseAddr("10.9.9.9") }, "add route to 0.0.0.0/0 via 10.9.9.9", nil},
		"families":          {func(c *Config) { c.Routes[0].Via = netip.MustParseAddr("fd00::2") }, "not of one family", nil},
		"no address":        {func(c *Config) { c.Addrs[0] = prefixes("224.0.0.1/24")[0] }, "no address of a device", nil},
		"queues":            {func(c *Config) { c.Queues = 5000 }, "add devices", nil},
		"XDP and its MTU":   {func(c *Config) { c.XDP, c.NoFrags, c.MTU = true, true, 9000 }, "an XDP program without fragments", nil},
	} {
		config := example(ns)
		c.change(&config)
		_, err := Create(config)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if after := see(t, ns); after != before {
			t.Errorf("%s: left\n%s\nwas\n%s", name, after, before)
		}
	}
	holding.leftNothing(t)
	if err := Delete("br-x"); err == nil || !strings.Contains(err.Error(), "type bridge") {
		t.Errorf("delete somebody else's device: got %v", err)
	}
}

// see lists the devices of both namespaces.
func see(t testing.TB, ns *NS) string {
	t.Helper()
	var names []string
	for _, where := range []*NS{nil, ns} {
		err := where.do(func() error {
			list, err := net.Interfaces()
			for _, i := range list {
				names = append(names, i.Name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(names, "\n")
}

// What somebody inside has done to the pair.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ do, want string }{
		"renamed":   {"ip link set eth0 name lan0", "name of device 2: lan0, want eth0"},
		"down":      {"ip link set eth0 down", "eth0 is down"},
		"MTU":       {"ip link set eth0 mtu 1400", "MTU of eth0: 1400, want 1450"},
		"MAC":       {"ip link set eth0 address 02:00:00:00:00:0b", "MAC of eth0: 02:00:00:00:00:0b, want 02:00:00:00:00:0a"},
		"address":   {"ip addr del 10.0.0.1/24 dev eth0", "eth0 has no address 10.0.0.1/24"},
		"deleted":   {"ip link del eth0", "is not in its namespace"},
		"sums":      {"busybox true", ""},
		"moved":     {"ip link set eth0 netns 1", "is not in its namespace"},
		"untouched": {"ip link set eth0 up", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ns := newNS(t)
			config := example(ns)
			config.XDP = name == "sums"
			p := mustCreate(t, config)
			if name == "moved" {
				other := newNS(t)
				h, err := dial(ns)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				l, err := h.LinkByName("eth0")
				if err != nil {
					t.Fatal(err)
				}
				if err := h.LinkSetNsFd(l, int(other.File().Fd())); err != nil {
					t.Fatal(err)
				}
			} else {
				run(t, ns, c.do)
			}
			diffs, err := Check(p, config)
			if got := strings.Join(diffs, "; "); err != nil || !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
