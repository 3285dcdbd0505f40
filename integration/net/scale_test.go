// SPDX-License-Identifier: Apache-2.0

package net

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"

	"foundry/datapath"
	"foundry/datapath/veth"
)

// crowd is very many endpoints of one host, with their other ends in one
// namespace, where nobody answers but the test: neighbour tables are the
// kernel's, not a namespace's, and hold a thousand entries in all.
type crowd struct {
	*fabric
	h       *host
	ns      *veth.NS
	members []*container
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	f := newFabric(t, 1, wire{})
	c := &crowd{fabric: f, h: f.hosts[0], ns: newNS(t)}
	err := c.ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0) })
	if err != nil {
		t.Fatal(err)
	}
	s := c.h.state()
	s.Networks = []datapath.Network{{VNI: 100}}
	c.h.set(s)
	return c
}

// join adds the next member, and says how long its devices and its entries took.
func (c *crowd) join() (devices, entries time.Duration) {
	c.Helper()
	m := c.h.plan(place{vni: 100, n: len(c.members) + 1})
	begin := time.Now()
	pair, err := veth.Create(veth.Config{Name: m.name, Host: c.h.ns, NS: c.ns, Peer: fmt.Sprint("eth", m.n), MAC: m.mac})
	if err != nil {
		c.Fatal(err)
	}
	made := time.Now()
	m.ifindex, m.peer, m.mtu = pair.Ifindex, pair.PeerIfindex, 1500
	c.update(datapath.Delta{Put: datapath.State{Endpoints: []datapath.Endpoint{m.endpoint()}}})
	c.members = append(c.members, m)
	return made.Sub(begin), time.Since(made)
}

func (c *crowd) update(d datapath.Delta) {
	c.Helper()
	if _, err := in(c.h.ns, func() ([]datapath.Change, error) { return c.h.dp.Update(d) }); err != nil {
		c.Fatal(err)
	}
}

// programs counts maps, and the pins of each program: a link, or for the
// moment before there is one the record of a filter.
func (c *crowd) programs() map[string]int {
	c.Helper()
	maps, err := filepath.Glob(filepath.Join(c.h.dir, "v*", "maps", "*"))
	if err != nil {
		c.Fatal(err)
	}
	pins, err := filepath.Glob(filepath.Join(c.h.dir, "links", "*"))
	if err != nil {
		c.Fatal(err)
	}
	got := map[string]int{"maps": len(maps)}
	for _, pin := range pins {
		if id, err := programOf(pin); err == nil {
			got[fmt.Sprint("program ", id)]++
		} else if !errors.Is(err, os.ErrNotExist) {
			c.Fatal(err)
		}
	}
	return got
}

func programOf(pin string) (ebpf.ProgramID, error) {
	if strings.Contains(filepath.Base(pin), "-clsact-") {
		p, err := ebpf.LoadPinnedProgram(pin, nil)
		if err != nil {
			return 0, err
		}
		defer p.Close()
		info, err := p.Info()
		if err != nil {
			return 0, err
		}
		id, _ := info.ID()
		return id, nil
	}
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return 0, err
	}
	return info.Program, nil
}

// A thousand endpoints of one network on one host: one program, no more maps
// than for one, and each reaches each that it asks for.
func TestThousand(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	c := newCrowd(t)
	var devices, entries []time.Duration
	maps := 0
	for range n {
		d, e := c.join()
		devices, entries = append(devices, d), append(entries, e)
		if len(c.members) == 1 {
			maps = c.programs()["maps"]
		}
	}
	for name, took := range map[string][]time.Duration{"devices": devices, "entries and link": entries} {
		first, last := mean(took[:n/10]), mean(took[n-n/10:])
		t.Logf("%s of an endpoint: first tenth %v, last tenth %v: %.2f times", name, first, last, float64(last)/float64(first))
	}
	pins, err := filepath.Glob(filepath.Join(c.h.dir, "links", "*"))
	if got := c.programs(); err != nil || len(pins) < n || len(got) != 2 || got["maps"] != maps {
		t.Errorf("%d pins of links, maps and programs: got %v, want %d of 1 program, and %d maps", len(pins), got, n, maps)
	}
	c.converse(0)
	c.converse(n - 1)
	var d datapath.Delta
	for _, m := range c.members[1:] {
		d.DeleteEndpoints = append(d.DeleteEndpoints, m.ifindex)
	}
	begin := time.Now()
	c.update(d)
	t.Logf("%v to remove all others but one", time.Since(begin).Round(time.Millisecond))
	// Links are looked at by TestChurn: they take the place of filters on a thread of this process, which is in no host.
	got := c.sizes()
	if got["host0 fdb"] != 1 || got["host0 ep_by_ifindex"] != 1 {
		t.Errorf("after all but one are gone: got %v", got)
	}
	t.Logf("pins that are left: %d", got["host0 links"])
}

func mean(list []time.Duration) (sum time.Duration) {
	for _, d := range list {
		sum += d
	}
	return (sum / time.Duration(len(list))).Round(time.Microsecond)
}

// converse has one member ask for the MAC of each other, send it a frame, and
// get one back.
func (c *crowd) converse(who int) {
	c.Helper()
	one := c.members[who]
	ears := c.tapOn(c.ns, 0, "the crowd")
	for _, m := range c.members {
		if m == one {
			continue
		}
		ears.sendOn(one.peer, request(one, m))
		if answer := ears.next(patience); answer == nil || ears.last != one.peer || string(answer[6:12]) != string(m.mac[:]) || string(answer[28:32]) != string(m.ip4.AsSlice()) {
			c.Fatalf("%v asked for %v: device %d got % x", one, m.ip4, ears.last, answer)
		}
		mark := fmt.Sprintf("%d to %d.", one.n, m.n)
		ears.sendOn(one.peer, datagram(one, m, mark))
		c.comes(ears, m, mark)
		ears.sendOn(m.peer, datagram6(m, one, mark))
		c.comes(ears, one, mark)
	}
}

// comes wants the next frame that anybody gets to be this one.
func (c *crowd) comes(ears *tap, to *container, mark string) {
	c.Helper()
	if b := ears.next(patience); carrying([][]byte{b}, mark) != 1 || ears.last != to.peer {
		c.Fatalf("%q: device %d got % x, want it on %d", mark, ears.last, b, to.peer)
	}
}

// request is ARP's.
func request(from, to *container) []byte {
	return frame(ethernet(from.mac, all(), layers.EthernetTypeARP), &layers.ARP{AddrType: layers.LinkTypeEthernet,
		Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest, SourceHwAddress: from.mac[:],
		SourceProtAddress: from.ip4.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: to.ip4.AsSlice()})
}

// A million entries besides: the few that are talked to are found as fast as
// ever, and one that comes is found at once.
func TestMillionBesides(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 20_000
	}
	f := newHosts(t, 2, wire{maxFDB: n + 1000})
	f.pair(f.hosts[0].ns, "up0", f.hosts[1].ns, "up0")
	for i, h := range f.hosts {
		h.uplink("up0", f.vtep(i))
	}
	f.sync()
	a, b := f.hosts[0].container(place{vni: 100, n: 1}), f.hosts[1].container(place{vni: 100, n: 2})
	a.streams(b, b.ip4, 64<<20)
	begin := time.Now()
	f.hosts[0].besides(b.h.ip, n)
	t.Logf("%d remotes in %v", n, time.Since(begin).Round(time.Millisecond))
	if got := f.sizes()["host0 fdb"]; got != n+2 {
		t.Errorf("FDB: got %d entries, want %d", got, n+2)
	}
	a.reaches(b)
	a.streams(b, b.ip4, 64<<20)
	b.streams(a, a.ip6, few)
	f.intact()
	f.drops()
}

// besides adds remotes that nobody talks to, in parts.
func (h *host) besides(peer netip.Addr, n int) {
	h.f.Helper()
	const part = 50_000
	for done := 0; done < n; done += part {
		var d datapath.Delta
		for i := done; i < min(done+part, n); i++ {
			mac := datapath.MAC{2, 1}
			binary.BigEndian.PutUint32(mac[2:], uint32(i))
			ip := binary.BigEndian.AppendUint32(nil, 11<<24+uint32(i))
			d.Put.Remotes = append(d.Put.Remotes, datapath.Remote{VNI: 100, MAC: mac, Addrs: []netip.Addr{netip.AddrFrom4([4]byte(ip))}, Peer: peer})
		}
		if _, err := in(h.ns, func() ([]datapath.Change, error) { return h.dp.Update(d) }); err != nil {
			h.f.Fatal(err)
		}
	}
}
