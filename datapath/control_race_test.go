// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
)

// Endpoints are added and deleted side by side; nothing is left of any.
func TestManyAtOnce(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	const many, namespaces = 200, 8
	var paths [namespaces]string
	for i := range paths {
		paths[i], _ = netns(t, fmt.Sprint("ns", i))
	}
	record := func(i int) EndpointRecord {
		ip := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		return EndpointRecord{Name: fmt.Sprint("e", i), VNI: 100, NetNS: paths[i%namespaces], Ifname: fmt.Sprint("net", i), Addrs: []netip.Prefix{netip.PrefixFrom(ip, 16)}}
	}
	if err := errors.Join(c.DeleteEndpoint(t.Context(), "none"), cycle(t, c, record(1000))); err != nil {
		t.Fatal(err)
	}
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)
	var work sync.WaitGroup
	for i := range many {
		work.Go(func() {
			if err := cycle(t, c, record(i+1)); err != nil {
				t.Error(err)
			}
		})
		if i%20 == 0 {
			work.Go(func() {
				if _, err := c.Reconcile(t.Context(), i%40 == 0); err != nil {
					t.Error(err)
				}
			})
		}
	}
	work.Wait()
	clean(t, c)
	if got := pairs(t, s); got != "" || pins(t, s) != 0 {
		t.Errorf("left: pairs %q, %d pins", got, pins(t, s))
	}
	eventually(t, "goroutines ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	if got := descriptors(t); got > fds {
		t.Errorf("descriptors: got %d, were %d", got, fds)
	}
	if status := c.Status(); status.Lost+status.Removed+status.Repaired != 0 || len(c.have.addrs)+len(c.have.macs)+len(c.pending) != 0 {
		t.Errorf("got %+v, %d addresses, %d MACs, %d pending", status, len(c.have.addrs), len(c.have.macs), len(c.pending))
	}
}

func cycle(t *testing.T, c *Control, r EndpointRecord) error {
	_, err := c.AddEndpoint(t.Context(), r)
	return errors.Join(err, c.DeleteEndpoint(t.Context(), r.Name))
}

func descriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// The same endpoint by several at once is made once, and all get it; several
// that want one address are one success.
func TestSameAtOnce(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	r := endpoint(t, "a", "10.0.0.1/24")
	var work sync.WaitGroup
	var mu sync.Mutex
	ports, conflicts := map[int]int{}, 0
	for i := range 16 {
		work.Go(func() {
			mine := r
			if i%2 == 1 {
				mine.Name, mine.Ifname = fmt.Sprint("other", i), fmt.Sprint("net", i)
			}
			got, err := c.AddEndpoint(t.Context(), mine)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrConflict) {
				conflicts++
			} else if err != nil {
				t.Error(err)
			}
			ports[got.Ifindex]++
		})
	}
	work.Wait()
	if len(c.ListEndpoints()) != 1 || len(ports) != 2 || conflicts != ports[0] {
		t.Errorf("endpoints %v, answers %v, conflicts %d", c.ListEndpoints(), ports, conflicts)
	}
	clean(t, c)
}
