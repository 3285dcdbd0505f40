// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Two hundred containers come and go at once: each gets what it asked for,
// and nothing is left of any.
func TestManyAtOnce(t *testing.T) {
	host := newNS(t)
	before := held(t)
	var wait sync.WaitGroup
	// More than that at once only wait for each other in the kernel.
	at := make(chan struct{}, 20)
	err := host.Do(func() error {
		for i := range 200 {
			wait.Add(1)
			go func() {
				defer wait.Done()
				at <- struct{}{}
				defer func() { <-at }()
				if err := one(i, host); err != nil {
					t.Error(err)
				}
			}()
		}
		wait.Wait()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := run(t, host, "ip -o link"), 1; countLines(got) != want {
		t.Errorf("left devices:\n%s", got)
	}
	before.leftNothing(t)
}

// holdings are what a call must not keep.
type holdings struct {
	goroutines, sockets, namespaces int
}

func held(t testing.TB) holdings {
	t.Helper()
	h := holdings{goroutines: runtime.NumGoroutine()}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch to, _ := os.Readlink("/proc/self/fd/" + e.Name()); {
		case strings.HasPrefix(to, "socket:"):
			h.sockets++
		case strings.HasPrefix(to, "net:"):
			h.namespaces++
		}
	}
	return h
}

// leftNothing fails when there is more than before. What is about to end
// gets its time.
func (h holdings) leftNothing(t testing.TB) {
	t.Helper()
	for i := 0; ; i++ {
		now := held(t)
		if now.goroutines <= h.goroutines && now.sockets <= h.sockets && now.namespaces <= h.namespaces {
			return
		}
		if i > 1e5 {
			t.Fatalf("left behind: got %+v, want %+v", now, h)
		}
		runtime.Gosched()
	}
}

func countLines(s string) (n int) {
	for _, c := range s {
		if c == '\n' {
			n++
		}
	}
	return n
}

// one is the life of a container's device.
func one(i int, host *NS) error {
	ns, err := NewNS()
	if err != nil {
		return err
	}
	defer ns.Close()
	c := Config{Name: fmt.Sprintf("fe-%d", i), Host: host, NS: ns, MAC: [6]byte{2, 0, 0, 0, 1, byte(i)}, MTU: 1450,
		Addrs: prefixes(fmt.Sprintf("10.1.0.%d/16", i+1), fmt.Sprintf("fd01::%x/64", i+1)), XDP: i%4 == 0}
	p, err := Create(c)
	if err != nil {
		return err
	}
	diffs, err := Check(p, c)
	if err != nil || len(diffs) > 0 || p.MAC != c.MAC {
		return fmt.Errorf("%s: %v, differs in %q", c.Name, err, diffs)
	}
	return host.Do(func() error { return Delete(c.Name) })
}
