// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// many is a State of n remotes behind 100 peers, in 10 networks.
func many(s State, n int) State {
	s.Networks = slices.Clone(s.Networks)
	for vni := range 10 {
		s.Networks = append(s.Networks, Network{VNI: uint32(1000 + vni), Broadcast: Broadcast{On: true}})
	}
	for i := range 100 {
		s.Peers = append(s.Peers, Peer{IP: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), NextHop: MAC{2, 9}, Local: MAC{2, 8}})
	}
	addrs := make([]netip.Addr, n)
	s.Remotes = slices.Grow(slices.Clone(s.Remotes), n)
	for i := range n {
		s.Remotes = append(s.Remotes, numbered(i, addrs[i:i+1:i+1]))
	}
	return s
}

// numbered is one of very many remotes.
func numbered(i int, addrs []netip.Addr) Remote {
	mac, ip := MAC{2, 1}, [4]byte{}
	binary.BigEndian.PutUint32(mac[2:], uint32(i))
	binary.BigEndian.PutUint32(ip[:], 11<<24+uint32(i))
	addrs[0] = netip.AddrFrom4(ip)
	return Remote{VNI: uint32(1000 + i%10), MAC: mac, Addrs: addrs, Peer: netip.AddrFrom4([4]byte{198, 51, 100, byte(i / 10 % 100)})}
}

// pss is what this process has in memory, in KiB.
func pss(t *testing.T) (kib int) {
	t.Helper()
	runtime.GC()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
			return kib
		}
	}
	t.Fatalf("no Pss in %s", b)
	return 0
}

// A million remotes: one more is a matter of that one.
func TestMillion(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	dir := mount(t)
	d, err := Open(Config{Dir: dir, MaxFDB: n + 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	small := on(t)
	set(t, d, small)
	before := heap()
	s := many(small, n)
	state := heap() - before
	first := timed(t, "Set of all", func() string { return set(t, d, s) })
	if !strings.Contains(first, fmt.Sprintf("put fdb %d entries\n", n)) {
		t.Errorf("got\n%s", first)
	}
	if got := timed(t, "the same again", func() string { return set(t, d, s) }); got != "" {
		t.Errorf("the same again: got\n%s", got)
	}
	const more = 500
	begin := time.Now()
	for i := range more {
		update(t, d, Delta{Put: State{Remotes: []Remote{numbered(n+i, make([]netip.Addr, 1))}}})
	}
	one := time.Since(begin) / more
	begin = time.Now()
	for i := range more {
		update(t, d, Delta{DeleteRemotes: []RemoteKey{{uint32(1000 + i%10), numbered(n+i, make([]netip.Addr, 1)).MAC}}})
	}
	t.Logf("one more: %v, one less: %v", one, time.Since(begin)/more)
	if one > 5*time.Millisecond {
		t.Errorf("one more takes %v", one)
	}
	s = State{}
	index := heap() - before
	t.Logf("heap: State %d KiB, kept by the data plane %d KiB (%d bytes a remote); PSS %d KiB", state>>10, index>>10, index/n, pss(t))
	if index > 64*n {
		t.Errorf("the data plane keeps %d bytes a remote in memory", index/n)
	}
	runtime.KeepAlive(d)
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func timed(t *testing.T, what string, fn func() string) string {
	t.Helper()
	begin := time.Now()
	got := fn()
	t.Logf("%s: %v", what, time.Since(begin))
	return got
}
