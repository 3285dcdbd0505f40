// SPDX-License-Identifier: Apache-2.0

package net

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"

	"foundry/datapath"
)

// Containers go and come back on the other host, with their addresses, over
// and over: each reaches each after every move, and in the end nothing is left.
func TestChurn(t *testing.T) {
	moves := 500
	if testing.Short() {
		moves = 40
	}
	f := newFabric(t, 2, wire{control: true})
	f.hosts[0].container(place{vni: 100, n: 1}).remove() // the network stays
	before := f.sizes()
	var list []*visitor
	for n := range 5 {
		list = append(list, newVisitor(f.hosts[n%2].container(place{vni: 100, n: n + 1})))
	}
	meet(f, list)
	begin := time.Now()
	for i := range moves {
		v := list[i%len(list)]
		v.moves(f.hosts[(slices.Index(f.hosts, v.h)+1)%2])
		meet(f, list)
		if t.Failed() {
			for _, h := range f.hosts {
				t.Logf("%s counted %v", h.name, h.counted())
			}
			for _, v := range list {
				out, err := exec.Command("nsenter", "--net="+path(v.ns), "ip", "-s", "neigh").CombinedOutput()
				t.Logf("neighbours of %v: %v\n%s", v, err, out)
			}
			t.Fatalf("after %d moves, the last of %v", i+1, v)
		}
	}
	t.Logf("%d moves, each pair after each: %v a move", moves, (time.Since(begin) / time.Duration(moves)).Round(time.Microsecond))
	f.intact()
	f.settled()
	f.dropsAtMost("no_endpoint") // what one says that is about to go
	for _, v := range list {
		v.leaves()
	}
	f.eventually("entries of maps, and links, are as at the start", func() bool { return maps.Equal(before, f.sizes()) })
	if t.Failed() {
		t.Logf("entries of maps, and links: got %v, want %v", f.sizes(), before)
	}
	for _, h := range f.hosts {
		if s := ask[datapath.Snapshot](h.control, "Snapshot", true); len(s.Endpoints) != 0 || len(s.Remotes) != 0 {
			t.Errorf("%s: records: got %+v", h.name, s)
		}
	}
}

// visitor is a container that does not stay.
type visitor struct {
	*container
	pingers map[bool]*pinger // by whether they are of IPv6
}

func newVisitor(c *container) *visitor {
	c.h.f.Helper()
	v := &visitor{c, map[bool]*pinger{}}
	for v6 := range families {
		p, err := newPinger(c.ns, v6)
		if err != nil {
			c.h.f.Fatal(err)
		}
		v.pingers[v6] = p
	}
	return v
}

func (v *visitor) leaves() {
	v.h.f.Helper()
	for _, p := range v.pingers {
		p.conn.Close()
	}
	v.remove()
}

// moves takes the container away and makes another on another host, with its
// addresses.
func (v *visitor) moves(to *host) {
	to.f.Helper()
	v.leaves()
	*v = *newVisitor(to.container(v.place))
}

// meet has each reach each, by both families.
func meet(f *fabric, list []*visitor) {
	f.Helper()
	var group errgroup.Group
	for _, v := range list {
		for v6, p := range v.pingers {
			group.Go(func() error {
				var ips []netip.Addr
				for _, other := range list {
					if other != v {
						ips = append(ips, other.addrs()[map[bool]int{true: 1}[v6]])
					}
				}
				if err := p.each(ips); err != nil {
					return fmt.Errorf("%v: %w", v, err)
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		f.Error(err)
	}
}

// sizes counts the entries of all tables and the links of all hosts. Of the
// counters, those of the uplink stay.
func (f *fabric) sizes() map[string]int {
	f.Helper()
	got := map[string]int{}
	for _, h := range f.hosts {
		pins, err := filepath.Glob(filepath.Join(h.dir, "v*", "maps", "*"))
		if err != nil || len(pins) == 0 {
			f.Fatalf("list maps below %s: %v, %v", h.dir, pins, err)
		}
		for _, pin := range pins {
			n, err := entries(pin)
			if err != nil {
				f.Fatalf("count %s: %v", pin, err)
			}
			got[h.name+" "+filepath.Base(pin)] = n
		}
		links, err := filepath.Glob(filepath.Join(h.dir, "links", "*"))
		if err != nil {
			f.Fatal(err)
		}
		got[h.name+" links"] = len(links)
	}
	return got
}

// entries counts what is in a pinned table; of other kinds of maps nothing.
func entries(pin string) (n int, err error) {
	m, err := ebpf.LoadPinnedMap(pin, &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer m.Close()
	if !slices.Contains([]ebpf.MapType{ebpf.Hash, ebpf.PerCPUHash, ebpf.HashOfMaps, ebpf.DevMapHash}, m.Type()) {
		return 0, nil
	}
	key, next := []byte(nil), make([]byte, m.KeySize())
	for {
		var previous any
		if key != nil {
			previous = key
		}
		if err := m.NextKey(previous, &next); errors.Is(err, ebpf.ErrKeyNotExist) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		key = slices.Clone(next)
		if filepath.Base(pin) != "stats_ep" || binary.NativeEndian.Uint32(key) != 0 {
			n++
		}
	}
}
