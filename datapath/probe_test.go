// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"foundry/bpf"
	"foundry/integration/env"
)

// lookAround is what a probe must leave as it was.
func lookAround(t *testing.T) string {
	t.Helper()
	devices, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && !strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "pipe:") { // Go keeps pipes to splice by
			links = append(links, target)
		}
	}
	return string(devices) + strings.Join(links, "\n")
}

// TestProbe: this host can do all of it, and is as it was before.
func TestProbe(t *testing.T) {
	env.RequireRoot(t)
	if _, err := Probe(t.Context()); err != nil { // opens what stays open
		t.Fatal(err)
	}
	before := lookAround(t)
	c, err := Probe(t.Context())
	if err != nil {
		t.Fatalf("%v\n%v", err, c)
	}
	t.Logf("\n%v", c)
	if c.Encap != EncapBPF || !c.XDP || c.Attach == "" || c.Kernel == "" {
		t.Errorf("got encap %q, xdp %v, attach %q, kernel %q", c.Encap, c.XDP, c.Attach, c.Kernel)
	}
	if after := lookAround(t); after != before {
		t.Errorf("left behind: got\n%s\nbefore it was\n%s", after, before)
	}
}

func testProber(t *testing.T) *prober {
	t.Helper()
	env.RequireRoot(t)
	p, err := newProber(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each way of encapsulation works with each way of attaching.
func TestProbeEachWay(t *testing.T) {
	for _, encap := range []string{EncapBPF, EncapKernel} {
		for _, attach := range []string{"tcx", "clsact"} {
			t.Run(encap+" by "+attach, func(t *testing.T) {
				p := testProber(t)
				p.found.Attach = attach
				if err := p.tunnel(encap); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// With the tunnel's L2 length counted as VXLAN's too, all works but segments:
// a probe that sent less than one would choose it.
func wrongLength() (*ebpf.CollectionSpec, error) {
	const at, right, wrong = 56, 14, 22
	spec, err := bpf.LoadTC()
	if err != nil {
		return nil, err
	}
	for _, p := range spec.Programs {
		for i, ins := range p.Instructions {
			if ins.OpCode == asm.LoadImmOp(asm.DWord) && uint64(ins.Constant)>>at == right {
				p.Instructions[i].Constant = ins.Constant ^ (right^wrong)<<at
			}
		}
	}
	return spec, nil
}

func TestProbeFindsWhatLosesSegments(t *testing.T) {
	p := testProber(t)
	p.tc = wrongLength
	if err := p.all(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", p.found)
	if p.found.Encap != EncapKernel {
		t.Errorf("got encap %q, want %q", p.found.Encap, EncapKernel)
	}
	for _, c := range p.found.List {
		if c.Name == "encap" && !strings.Contains(c.Reason, "encap bpf: over IPv4: ") {
			t.Errorf("reason: got %q", c.Reason)
		}
	}
}

// Where nothing works the error says what became of each, with the reasons
// that the programs counted.
func TestProbeFails(t *testing.T) {
	p := testProber(t)
	p.tc = func() (*ebpf.CollectionSpec, error) {
		spec, err := bpf.LoadTC()
		if err == nil {
			spec.Programs["tc_endpoint"].Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}
		}
		return spec, err
	}
	err := p.all()
	if err == nil {
		t.Fatal("no program forwards anything, and the probe found nothing wrong")
	}
	for _, want := range []string{"encap bpf: over IPv4: connect by TCP", "encap kernel: over IPv4: connect by TCP"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}
