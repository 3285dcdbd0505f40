// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"foundry/datapath"
	"foundry/integration/env"
)

// cniPath is where Debian puts CNI's plugins.
const cniPath = "/usr/lib/cni"

// attaching measures what it takes until a new network namespace is part of a
// network, in turn by Foundry and by CNI's plugins. What both remember they
// keep in memory.
func attaching(b *testing.B, r *Results, times int) {
	b.Helper()
	memory := b.TempDir()
	if err := unix.Mount("tmpfs", memory, "tmpfs", 0, "mode=0700"); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := unix.Unmount(memory, 0); err != nil {
			b.Error(err)
		}
	})
	control := newControl(b, memory)
	plain := cni{newPlace(b), filepath.Join(memory, "plain"), nil}
	published := cni{newPlace(b), filepath.Join(memory, "published"), []port{{8080, 80, "tcp"}}}
	for i := range times + 1 {
		took := map[string]time.Duration{AttachFoundry: addEndpoint(b, control, i), AttachCNI: plain.attach(i), AttachPublished: published.attach(i)}
		if i == 0 {
			continue // the first makes the bridge
		}
		for who, d := range took {
			r.Attach[who] = append(r.Attach[who], float64(d.Microseconds()))
		}
	}
}

func newControl(b *testing.B, memory string) *datapath.Control {
	b.Helper()
	dir := filepath.Join(bpffs(b), "instance")
	c, err := datapath.StartControl(b.Context(), datapath.ControlConfig{Dir: dir, Store: filepath.Join(memory, "store"), Interval: -1})
	if err != nil {
		b.Fatalf("%+v", err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
		if err := datapath.Purge(dir); err != nil {
			b.Error(err)
		}
	})
	if _, err := c.AddNetwork(b.Context(), datapath.NetworkRecord{VNI: network}); err != nil {
		b.Fatal(err)
	}
	return c
}

// addEndpoint takes one away again, at the end.
func addEndpoint(b *testing.B, c *datapath.Control, i int) time.Duration {
	b.Helper()
	e := datapath.EndpointRecord{Name: fmt.Sprint("c", i), VNI: network, NetNS: newPlace(b).path(),
		Addrs:  []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 2)}), 24)},
		Routes: []datapath.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.1")}}}
	begin := time.Now()
	if _, err := c.AddEndpoint(b.Context(), e); err != nil {
		b.Fatal(err)
	}
	took := time.Since(begin)
	b.Cleanup(func() {
		if err := c.DeleteEndpoint(context.Background(), e.Name); err != nil {
			b.Error(err)
		}
	})
	return took
}

// cni is a host whose containers are attached by CNI's plugins.
type cni struct {
	place
	data  string // host-local's
	ports []port
}

type port struct {
	Host      int    `json:"hostPort"`
	Container int    `json:"containerPort"`
	Protocol  string `json:"protocol"`
}

// attach does what a runtime does: one plugin after the other, the second is
// given the answer of the first. Only who publishes ports needs masquerading.
func (c cni) attach(i int) time.Duration {
	c.Helper()
	ns := newPlace(c.B)
	ports := make([]port, len(c.ports))
	for n, p := range c.ports {
		p.Host += i
		ports[n] = p
	}
	conf := map[string]any{"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": len(ports) > 0,
		"ipam": map[string]any{"type": "host-local", "dataDir": c.data, "routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
			"ranges": []any{[]any{map[string]any{"subnet": "10.2.0.0/16"}}}}}
	id := fmt.Sprint("bench", i)
	begin := time.Now()
	result := c.plugin("bridge", id, ns, conf)
	c.plugin("portmap", id, ns, map[string]any{"cniVersion": "1.0.0", "name": "bench", "type": "portmap", "prevResult": json.RawMessage(result),
		"runtimeConfig": map[string]any{"portMappings": ports}})
	return time.Since(begin)
}

func (c cni) plugin(name, id string, ns place, conf any) []byte {
	c.Helper()
	stdin, err := json.Marshal(conf)
	if err != nil {
		c.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(cniPath, name))
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID="+id, "CNI_NETNS="+ns.path(), "CNI_IFNAME=eth0", "CNI_PATH="+cniPath)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &out
	c.in("start plugin "+name, cmd.Start)
	if err := cmd.Wait(); err != nil {
		c.Fatalf("plugin %s: %v\n%s", name, err, &out)
	}
	return out.Bytes()
}

// BenchmarkAttach is the part of BenchmarkNetwork that attaches.
func BenchmarkAttach(b *testing.B) {
	env.RequireRoot(b)
	r := NewResults()
	attaching(b, r, 10)
	r.Print(os.Stdout)
}
