// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"foundry/datapath/veth"
	"foundry/integration/env"
)

// site is where the Control of a test lives.
type site struct {
	ControlConfig
}

func newSite(t testing.TB) site {
	t.Helper()
	env.RequireRoot(t)
	mount := t.TempDir()
	if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	state := t.TempDir()
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(state, 0) })
	return site{ControlConfig{Dir: filepath.Join(mount, "instance"), Store: filepath.Join(state, "network"), Interval: -1,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}}
}

func (s site) start(t testing.TB) *Control {
	t.Helper()
	c, err := StartControl(t.Context(), s.ControlConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// netns makes a namespace with a path, which lives until remove is called or
// the test ends.
func netns(t testing.TB, name string) (path string, remove func()) {
	t.Helper()
	ns, err := veth.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.File().Fd()), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	ns.Close()
	remove = func() { unix.Unmount(path, unix.MNT_DETACH) }
	t.Cleanup(remove)
	return path, remove
}

// in runs a program in a namespace.
func in(t testing.TB, path, line string) (string, error) {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + path}, strings.Fields(line)...)...).CombinedOutput()
	return string(out), err
}

func run(t testing.TB, line string) string {
	t.Helper()
	args := strings.Fields(line)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

func endpoint(t testing.TB, name, addr string) EndpointRecord {
	t.Helper()
	path, _ := netns(t, name)
	return EndpointRecord{Name: name, VNI: 100, NetNS: path, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}
}

func addNetwork(t testing.TB, c *Control) {
	t.Helper()
	if _, err := c.AddNetwork(t.Context(), NetworkRecord{VNI: 100}); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, c *Control, r EndpointRecord) EndpointRecord {
	t.Helper()
	got, err := c.AddEndpoint(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// clean fails when anything is left that no record owns.
func clean(t testing.TB, c *Control) {
	t.Helper()
	changes, err := c.Reconcile(context.Background(), true)
	if err != nil || len(changes) > 0 {
		t.Errorf("records, maps and links differ: %v\n%s", err, lines(changes))
	}
}

// pairs are the devices of an instance, one a line.
func pairs(t testing.TB, s site) string {
	t.Helper()
	links, err := linksByIndex()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	prefix := (&Control{config: s.ControlConfig}).prefix()
	for _, link := range links {
		if strings.HasPrefix(link.Name, prefix) {
			list = append(list, link.Name)
		}
	}
	return strings.Join(list, "\n")
}

func pins(t testing.TB, s site) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, linksDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// eventually waits for something that the kernel tells of.
func eventually(t testing.TB, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !true(); {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestEndpointLife(t *testing.T) {
	s := newSite(t)
	c := s.start(t)
	addNetwork(t, c)
	a, b := endpoint(t, "a", "10.0.0.1/24"), endpoint(t, "b", "10.0.0.2/24")
	b.Addrs = append(b.Addrs, netip.MustParsePrefix("fd00::2/64"))
	gotA, gotB := add(t, c, a), add(t, c, b)
	if gotA.MTU != 1500 || gotA.MAC != macOf(100, a.Addrs[0].Addr()) || gotA.Ifindex == 0 || gotA.HostName == "" || gotB.Generation <= gotA.Generation {
		t.Errorf("filled in: got %+v", gotA)
	}
	if out, err := in(t, a.NetNS, "busybox ping -c 2 -i 0.1 -W 5 10.0.0.2"); err != nil {
		t.Errorf("ping: %v\n%s", err, out)
	}
	if again := add(t, c, a); fmt.Sprint(again) != fmt.Sprint(gotA) {
		t.Errorf("the same again: got %+v, want %+v", again, gotA)
	}
	counters, err := c.Counters("a")
	if err != nil || len(counters) == 0 || counters[0].Endpoint != "a" {
		t.Errorf("counters: got %v, %v", counters, err)
	}
	clean(t, c)
	for range 2 {
		if err := c.DeleteEndpoint(t.Context(), "a"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	clean(t, c)
	if n := strings.Count(pairs(t, s), "\n") + 1; n != 1 || pins(t, s) != 1 {
		t.Errorf("left: %d pairs, %d pins, want one each", n, pins(t, s))
	}
	if err := c.Purge(t.Context()); err != nil {
		t.Error(err)
	}
	if got := pairs(t, s); got != "" {
		t.Errorf("after purge: %s", got)
	}
}

// Who closes lets go of all that was opened, and takes nothing away.
func TestCloseLeavesNothingBehind(t *testing.T) {
	s := newSite(t)
	r := endpoint(t, "a", "10.0.0.1/24")
	life := func() {
		c, err := StartControl(t.Context(), s.ControlConfig)
		if err != nil {
			t.Fatal(err)
		}
		addNetwork(t, c)
		if _, err := c.Watch(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
		add(t, c, r)
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	life() // what is opened once for all
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)
	life()
	eventually(t, "goroutines ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "descriptors closed", func() bool { return descriptors(t) <= fds })
	if got := len(strings.Fields(pairs(t, s))); got != 1 {
		t.Errorf("got %d pairs, want 1", got)
	}
}
