// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"foundry/integration/env"
)

// Who is in the tests' world. macA sends: its device is lo, which is where a
// test run of a program comes in by.
const (
	macA     = "02:00:00:00:00:0a" // VNI 100, endpoint 1
	macB     = "02:00:00:00:00:0b" // VNI 100, endpoint 2, takes XDP; VNI 200, endpoint 4
	macC     = "02:00:00:00:00:0c" // VNI 100, endpoint 3, no XDP, MTU 1400
	macR     = "02:00:00:00:01:01" // VNI 100, behind VTEP 1 over IPv4
	macR6    = "02:00:00:00:01:06" // VNI 100, behind VTEP 2 over IPv6
	macDown  = "02:00:00:00:01:0d" // VNI 100, behind VTEP 3, which is down
	macGone  = "02:00:00:00:01:0e" // VNI 100, behind a VTEP that is not there
	macGW    = "02:00:00:00:00:01" // VNI 100, the gateway
	macHole  = "02:00:00:00:00:66" // VNI 100, blackholed
	macNone  = "02:00:00:00:00:99" // nowhere
	macLost  = "02:00:00:00:00:77" // VNI 100, endpoint 5, takes XDP but is not in the device map
	macBelow = "02:00:00:00:ff:01" // the underlay's next hop
	macUp    = "02:00:00:00:ff:02" // our uplink
	allOnes  = "ff:ff:ff:ff:ff:ff"
	zeroMAC  = "00:00:00:00:00:00"

	ipA, ipA2, ipB, ipC, ipR = "10.0.0.1", "10.0.0.101", "10.0.0.2", "10.0.0.3", "10.0.0.11"
	ip6A, ip6B, ip6R         = "fd00::1", "fd00::2", "fd00::11"
	ip6Link                  = "fe80::ff:fe00:a" // what macA makes of itself
	ipGW, ip6GW              = "10.0.0.254", "fd00::fe"
	vtepUs, vtepR            = "192.0.2.1", "192.0.2.2"
	vtep6Us, vtep6R          = "2001:db8::1", "2001:db8::2"

	lo, devB, devC, devB200, devLost = 1, 12, 13, 14, 15
)

// world is a set of maps with both objects on them.
type world struct {
	testing.TB
	tc, xdp *ebpf.Collection
	names   Names
}

// objects are both, on one set of maps. The verifier takes its time, so all
// tests share them.
var objects = sync.OnceValues(func() (w world, err error) {
	tcSpec, err := LoadTC()
	if err != nil {
		return w, err
	}
	xdpSpec, err := LoadXDP()
	if err != nil {
		return w, err
	}
	if w.names, err = ReadNames(tcSpec); err != nil {
		return w, err
	}
	if w.tc, err = ebpf.NewCollection(tcSpec); err != nil {
		return w, err
	}
	shared := map[string]*ebpf.Map{}
	for name := range xdpSpec.Maps {
		shared[name] = w.tc.Maps[name]
	}
	w.xdp, err = ebpf.NewCollectionWithOptions(xdpSpec, ebpf.CollectionOptions{MapReplacements: shared})
	return w, err
})

func newWorld(t testing.TB) *world {
	t.Helper()
	env.RequireRoot(t)
	w, err := objects()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	w.TB = t
	for _, name := range []string{"ep_by_ifindex", "fdb", "neigh", "vtep", "vtep_by_ip", "vni", "bum", "rate", "devs"} {
		w.clear(name)
	}
	w.populate()
	return &w
}

func (w *world) clear(name string) {
	w.Helper()
	m := w.tc.Maps[name]
	key := make([]byte, m.KeySize())
	for m.NextKey(nil, &key) == nil {
		if err := m.Delete(key); err != nil {
			w.Fatalf("clear %s: %v", name, err)
		}
	}
}

func (w *world) put(name string, key, value any) {
	w.Helper()
	if err := w.tc.Maps[name].Put(key, value); err != nil {
		w.Fatalf("put %v into %s: %v", key, name, err)
	}
}

func macOf(s string) (m Mac) {
	copy(m.B[:], mac(s))
	return m
}

// sender is the endpoint whose device is lo.
func sender() Endpoint {
	return Endpoint{Id: 1, Vni: 100, Mac: macOf(macA), Mtu: 1500, Ip4: IPv4(addr(ipA)), Ip6: AddrOf(addr(ip6A))}
}

func (w *world) populate() {
	w.configure(sender(), settings())
	w.forwarding(100, macA, FdbEntry{Type: TCFdbTypeFDB_LOCAL, Target: lo, Endpoint: 1})
	w.forwarding(100, macB, FdbEntry{Type: TCFdbTypeFDB_LOCAL, Target: devB, Endpoint: 2, Flags: TCFdbFlagFDB_XDP})
	w.forwarding(100, macC, FdbEntry{Type: TCFdbTypeFDB_LOCAL, Target: devC, Endpoint: 3, Mtu: 1400})
	w.forwarding(200, macB, FdbEntry{Type: TCFdbTypeFDB_LOCAL, Target: devB200, Endpoint: 4, Flags: TCFdbFlagFDB_XDP})
	w.forwarding(100, macLost, FdbEntry{Type: TCFdbTypeFDB_LOCAL, Target: devLost, Endpoint: 5, Flags: TCFdbFlagFDB_XDP})
	w.forwarding(100, macR, FdbEntry{Type: TCFdbTypeFDB_REMOTE, Target: 1})
	w.forwarding(100, macR6, FdbEntry{Type: TCFdbTypeFDB_REMOTE, Target: 2})
	w.forwarding(100, macDown, FdbEntry{Type: TCFdbTypeFDB_REMOTE, Target: 3})
	w.forwarding(100, macGone, FdbEntry{Type: TCFdbTypeFDB_REMOTE, Target: 99})
	w.forwarding(100, macGW, FdbEntry{Type: TCFdbTypeFDB_GATEWAY})
	w.forwarding(100, macHole, FdbEntry{Type: TCFdbTypeFDB_BLACKHOLE})
	for ip, m := range map[string]string{ipA: macA, ipA2: macA, ip6A: macA, ipB: macB, ip6B: macB, ipC: macC, ipR: macR, ip6R: macR} {
		w.neighbour(100, ip, NeighEntry{Mac: macOf(m)})
	}
	w.neighbour(100, ipGW, NeighEntry{Mac: macOf(macGW), Flags: TCNeighFlagNEIGH_ROUTER})
	w.neighbour(100, ip6GW, NeighEntry{Mac: macOf(macGW), Flags: TCNeighFlagNEIGH_ROUTER})
	for _, vni := range []uint32{0, 100, 200, 1<<24 - 1} {
		w.put("vni", vni, &VniEntry{})
	}
	w.tunnel(1, vtepUs, vtepR, TCVtepStateVTEP_UP)
	w.tunnel(2, vtep6Us, vtep6R, TCVtepStateVTEP_UP)
	w.tunnel(3, vtepUs, "192.0.2.3", TCVtepStateVTEP_DOWN)
	for _, dev := range []uint32{lo, devB, devB200} {
		w.put("devs", dev, &TCBpfDevmapVal{Ifindex: lo})
	}
}

func settings() Config {
	return Config{Abi: ABI, Flags: TCCfgFlagCFG_XDP_XMIT, Vtep4: AddrOf(addr(vtepUs)),
		Vtep6: AddrOf(addr(vtep6Us)), Port: Port(4789), Events: 1000}
}

func (w *world) configure(ep Endpoint, c Config) {
	w.Helper()
	w.put("ep_by_ifindex", uint32(lo), &ep)
	w.put("cfg", uint32(0), &c)
}

func (w *world) forwarding(vni uint32, m string, e FdbEntry) {
	w.Helper()
	w.put("fdb", &FdbKey{Vni: vni, Mac: macOf(m)}, &e)
}

func (w *world) neighbour(vni uint32, ip string, e NeighEntry) {
	w.Helper()
	w.put("neigh", &NeighKey{Vni: vni, Family: Family(addr(ip)), Ip: AddrOf(addr(ip))}, &e)
}

func (w *world) tunnel(id uint32, local, remote string, state TCVtepState) {
	w.Helper()
	v, err := NewVtep(Tunnel{LocalMAC: mac(macUp), RemoteMAC: mac(macBelow), Local: addr(local), Remote: addr(remote),
		Ifindex: lo, MTU: 1500})
	if err != nil {
		w.Fatal(err)
	}
	v.State = state
	w.put("vtep", id, &v)
	w.put("vtep_by_ip", &VtepKey{Family: Family(addr(remote)), Ip: AddrOf(addr(remote))}, id)
}

// totals reads stats_total, all CPUs added up.
func (w *world) totals() (sums [int(TCActionACT_COUNT) * ReasonSlots]uint64) {
	w.Helper()
	m := w.tc.Maps["stats_total"]
	cpus := ebpf.MustPossibleCPU()
	keys, values := make([]uint32, len(sums)), make([]Count, len(sums)*cpus)
	var cursor ebpf.MapBatchCursor
	if n, err := m.BatchLookup(&cursor, keys, values, nil); n != len(sums) {
		w.Fatalf("read stats_total: %d entries: %v", n, err)
	}
	for i, slot := range keys {
		for _, c := range values[i*cpus : (i+1)*cpus] {
			sums[slot] += c.Packets
		}
	}
	return sums
}

// endpoints reads what was counted for endpoints as text, one entry a line,
// and empties it.
func (w *world) endpoints() []string {
	w.Helper()
	sums := map[StatsKey]Count{}
	add := func(key StatsKey, c Count) {
		sums[key] = Count{Packets: sums[key].Packets + c.Packets, Bytes: sums[key].Bytes + c.Bytes}
	}
	if err := ReadPorts(w.tc.Maps["stats_port"], add); err != nil {
		w.Fatal(err)
	}
	for key := range sums {
		if err := ClearPort(w.tc.Maps["stats_port"], key.Endpoint); err != nil {
			w.Fatal(err)
		}
	}
	w.hashed(add)
	var lines []string
	for key, c := range sums {
		way := map[TCDirection]string{TCDirectionDIR_FROM: "from", TCDirectionDIR_TO: "to"}[key.Direction]
		lines = append(lines, fmt.Sprintf("%s %d: %s %s, %d frames, %d bytes", way, key.Endpoint, w.names.Actions[key.Action],
			w.names.Reasons[key.Reason], c.Packets, c.Bytes))
	}
	slices.Sort(lines)
	return lines
}

// hashed reads stats_ep and empties it.
func (w *world) hashed(add func(StatsKey, Count)) {
	w.Helper()
	var key StatsKey
	m := w.tc.Maps["stats_ep"]
	for {
		if err := m.NextKey(nil, &key); errors.Is(err, ebpf.ErrKeyNotExist) {
			return
		} else if err != nil {
			w.Fatal(err)
		}
		var perCPU []Count
		if err := m.Lookup(&key, &perCPU); err != nil {
			w.Fatal(err)
		}
		for _, c := range perCPU {
			add(key, c)
		}
		if err := m.Delete(&key); err != nil {
			w.Fatal(err)
		}
	}
}

// Two endpoints with one number for their counters: each has its own.
func TestCountersOfOneSlot(t *testing.T) {
	w := newWorld(t)
	w.endpoints()
	for _, id := range []uint32{5, 5 + portSlots, 5} {
		ep := sender()
		ep.Id = id
		w.configure(ep, settings())
		if _, _, err := w.tc.Programs["tc_endpoint"].Test(to(macB)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[uint32]uint64{}
	add := func(key StatsKey, c Count) { got[key.Endpoint] += c.Packets }
	if err := ReadPorts(w.tc.Maps["stats_port"], add); err != nil {
		t.Fatal(err)
	}
	if got[5] == 0 || got[5] > 2 {
		t.Errorf("by number: got %v", got)
	}
	w.hashed(add)
	if got[5] != 2 || got[5+portSlots] != 1 || got[2] != 3 {
		t.Errorf("all: got %v, want 2 of one, 1 of the other, 3 to 2", got)
	}
	if err := ClearPort(w.tc.Maps["stats_port"], 5); err != nil {
		t.Fatal(err)
	}
	clear(got)
	if err := ReadPorts(w.tc.Maps["stats_port"], add); err != nil || got[5] != 0 || got[2] != 3 {
		t.Errorf("after 5 was cleared: got %v, %v", got, err)
	}
}
