// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/safchain/ethtool"
)

// A pair for XDP has what a program's frames need, also with an MTU that takes
// fragments; and somebody who takes it away is found out.
func TestXDP(t *testing.T) {
	ns := newNS(t)
	c := example(ns)
	c.XDP, c.MTU, c.Queues = true, 9000, 3
	p := mustCreate(t, c)
	for _, where := range []struct {
		ns   *NS
		name string
	}{{nil, "fe-1"}, {ns, "eth0"}} {
		contains(t, where.name, run(t, where.ns, "ip -d link show dev "+where.name), "numtxqueues 3 numrxqueues 3", "mtu 9000", "state UP")
	}
	if diffs, err := Check(p, c); err != nil || len(diffs) != 0 {
		t.Fatalf("check: got %q, %v", diffs, err)
	}
	attach(t, p.Ifindex, true)
	for feature, on := range map[string]bool{featureGRO: false, featureSum: true} {
		change(t, ns, feature, on)
		diffs, err := Check(p, c)
		if got := strings.Join(diffs, "; "); err != nil || !strings.Contains(got, "XDP needs GRO on and checksum offload off") {
			t.Errorf("%s=%v: got %q, %v", feature, on, got, err)
		}
		change(t, ns, feature, !on)
	}
	if diffs, err := Check(p, c); err != nil || len(diffs) != 0 {
		t.Errorf("put back: got %q, %v", diffs, err)
	}
}

// The limit for programs without fragments is one that the kernel accepts.
func TestXDPWithoutFragments(t *testing.T) {
	c := example(newNS(t))
	c.XDP, c.NoFrags, c.MTU = true, true, maxFrame()
	attach(t, mustCreate(t, c).Ifindex, false)
}

// attach attaches a program for the time of the test.
func attach(t *testing.T, ifindex int, frags bool) {
	t.Helper()
	const pass, withFrags = 2, 1 << 5 // XDP_PASS, BPF_F_XDP_HAS_FRAGS
	spec := &ebpf.ProgramSpec{Type: ebpf.XDP, License: "Apache-2.0", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, pass), asm.Return()}}
	if frags {
		spec.Flags = withFrags
	}
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: ifindex, Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func change(t *testing.T, ns *NS, feature string, on bool) {
	t.Helper()
	err := ns.Do(func() error {
		e, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer e.Close()
		return e.Change("eth0", map[string]bool{feature: on})
	})
	if err != nil {
		t.Fatal(err)
	}
}
