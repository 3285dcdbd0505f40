// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cilium/ebpf/link"

	"foundry/datapath/veth"
	"foundry/integration/env"
)

// TestEarlyInAnotherNamespace: numbers of devices are those of the namespace
// in which Update was called, also when a link takes the place of a filter
// later, on no thread of the caller's.
func TestEarlyInAnotherNamespace(t *testing.T) {
	dir := mount(t)
	ns, err := veth.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	const number = 4242
	addDevice(t, "here", number)
	defer veth.Delete("here")
	var d *Datapath
	err = ns.Do(func() (err error) {
		if d, err = Open(Config{Dir: dir}); err != nil {
			return err
		}
		addDevice(t, "there", number)
		if _, err := d.Set(State{Networks: []Network{{VNI: 7}}}); err != nil {
			return err
		}
		_, err = d.Update(Delta{Put: State{Endpoints: []Endpoint{{Ifindex: number, VNI: 7, MAC: MAC{2, 0, 0, 0, 0, 1},
			Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	path := filepath.Join(dir, linksDir, fmt.Sprintf("tc_endpoint-%d", number))
	env.Eventually(t, "link in the place of the filter", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
	if err := veth.Delete("here"); err != nil {
		t.Fatal(err)
	}
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := l.Info(); err != nil || severed(info) {
		t.Errorf("the link is on a device of the test's own namespace: %v", err)
	}
}

// addDevice makes a device.
func addDevice(t *testing.T, name string, number int) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "add", name, "index", strconv.Itoa(number), "type", "veth", "peer", "name", name+"p").CombinedOutput(); err != nil {
		t.Fatalf("add %s: %v\n%s", name, err, out)
	}
}
