// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"foundry/bpf"
	"foundry/datapath"
)

// gauge is a host whose programs are fed frames by the kernel's own test run,
// one processor, no sender. Whoever gets them drops them by XDP at once.
type gauge struct {
	*host
	a, b *container
	up   net.Interface
}

func newGauge(b *testing.B, dir string, fdb int) *gauge {
	b.Helper()
	g := &gauge{host: newHost(b, dir, fdb)}
	g.a, g.b = pair(b)
	wall := newPlace(b)
	wire(g.place, wall)
	g.attach(g.a, wireMTU, 0, true)
	g.attach(g.b, wireMTU, 0, true)
	g.up = g.device("up0")
	there := netip.MustParseAddr(hostTwo)
	g.state.Underlay = datapath.Underlay{Ifindex: g.up.Index, IPv4: netip.MustParseAddr(hostOne), XDP: true}
	g.state.Peers = []datapath.Peer{{IP: there, NextHop: datapath.MAC(wall.device("up0").HardwareAddr), Local: datapath.MAC(g.up.HardwareAddr), MTU: wireMTU}}
	g.state.Remotes = []datapath.Remote{{VNI: network, MAC: datapath.MAC(mustMAC(macFar)), Peer: there}}
	g.set()
	drop := verdict(b, asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}, "drop")
	g.b.hook(drop, "eth0")
	wall.hook(drop, "up0")
	return g
}

const macFar = "02:00:00:00:00:0f" // behind the other VTEP

func mustMAC(s string) (m [6]byte) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		panic(err) // a constant of this file
	}
	copy(m[:], hw)
	return m
}

// verdict makes a program of XDP that takes fragments.
func verdict(b *testing.B, code asm.Instructions, name string) *ebpf.Program {
	b.Helper()
	const hasFrags = 1 << 5
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Flags: hasFrags, License: "Apache-2.0", Instructions: code})
	if err != nil {
		b.Fatalf("load %s: %+v", name, err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}

func (p place) hook(program *ebpf.Program, device string) {
	p.Helper()
	index := p.device(device).Index
	p.in("attach to "+device, func() error {
		l, err := link.AttachXDP(link.XDPOptions{Interface: index, Program: program, Flags: link.XDPDriverMode})
		if err == nil {
			p.Cleanup(func() { l.Close() })
		}
		return err
	})
}

// program finds what is attached to a device.
func (h *host) program(name string, ifindex int) *ebpf.Program {
	h.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, "links", fmt.Sprintf("%s-%d", name, ifindex)))
	if err != nil || len(found) != 1 {
		h.Fatalf("find link of %s on %d: %v, %v", name, ifindex, found, err)
	}
	l, err := link.LoadPinnedLink(found[0], nil)
	if err != nil {
		h.Fatal(err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		h.Fatal(err)
	}
	p, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { p.Close() })
	return p
}

// cost is the time that one of many frames takes, in ns, from the program on
// a device to where it is dropped.
func (g *gauge) cost(p *ebpf.Program, ifindex int, frame []byte, times uint32) (ns float64) {
	g.Helper()
	const liveFrames = 2
	context := struct{ Data, End, Meta, Ifindex, Queue, Egress uint32 }{End: uint32(len(frame)), Ifindex: uint32(ifindex)}
	g.in("run "+p.String(), func() error {
		begin := time.Now()
		_, err := p.Run(&ebpf.RunOptions{Data: frame, Context: &context, Repeat: times, Flags: liveFrames})
		ns = float64(time.Since(begin).Nanoseconds()) / float64(times)
		return err
	})
	return ns
}

// datagram is a frame of 60 bytes from one container to a MAC.
func datagram(to string) []byte {
	src, dst := mustMAC(macA), mustMAC(to)
	f := append(append(append([]byte{}, dst[:]...), src[:]...), 0x08, 0x00)
	f = append(f, ipv4(addrA, addrB, 8+18)...)
	return append(f, append([]byte{0x12, 0x34, 0x56, 0x78, 0, 8 + 18, 0, 0}, make([]byte, 18)...)...)
}

// ipv4 is a header of UDP.
func ipv4(from, to string, size int) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+size))
	h = append(append(h, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum>>16+sum))
	return h
}

// tunnelled is what the other VTEP makes of a frame.
func (g *gauge) tunnelled(inner []byte) []byte {
	f := append(append([]byte{}, g.up.HardwareAddr...), 2, 0, 0, 0, 0, 2, 0x08, 0x00)
	f = append(f, ipv4(hostTwo, hostOne, 16+len(inner))...)
	f = append(f, 0xc0, 0x00, 0x12, 0xb5, 0, byte(16+len(inner)), 0, 0)
	return append(append(f, 8, 0, 0, 0, 0, 0, network, 0), inner...)
}

// costs takes the cost of each program once.
func (g *gauge) costs(r *Results, times uint32) {
	g.Helper()
	endpoint, uplink := g.program("xdp_endpoint", g.a.ifindex), g.program("xdp_uplink", g.up.Index)
	drop := verdict(g.B, asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}, "drop")
	for _, c := range []struct {
		name    string
		program *ebpf.Program
		ifindex int
		frame   []byte
	}{
		{CostDrop, drop, g.a.ifindex, datagram(macB)},
		{CostForward, endpoint, g.a.ifindex, datagram(macB)},
		{CostEncap, endpoint, g.a.ifindex, datagram(macFar)},
		{CostDecap, uplink, g.up.Index, g.tunnelled(datagram(macB))},
	} {
		before := g.received()
		r.Cost[c.name] = append(r.Cost[c.name], g.cost(c.program, c.ifindex, c.frame, times))
		if got := g.received() - before; c.program != drop && got < uint64(times)*99/100 {
			g.Fatalf("%s: %d of %d frames arrived", c.name, got, times)
		}
	}
}

// received counts what the programs forwarded.
func (g *gauge) received() (n uint64) {
	g.Helper()
	var counts []bpf.Count
	m := g.pinned("stats_total")
	for _, reason := range []bpf.Reason{bpf.TCReasonREASON_LOCAL, bpf.TCReasonREASON_REMOTE, bpf.TCReasonREASON_DECAPSULATED} {
		if err := m.Lookup(bpf.StatsSlot(bpf.TCActionACT_REDIRECT, reason), &counts); err != nil {
			g.Fatal(err)
		}
		for _, c := range counts {
			n += c.Packets
		}
	}
	return n
}

// pinned opens a map of the host's.
func (h *host) pinned(name string) *ebpf.Map {
	h.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, "v*", "maps", name))
	if err != nil || len(found) != 1 {
		h.Fatalf("find map %s: %v, %v", name, found, err)
	}
	m, err := ebpf.LoadPinnedMap(found[0], nil)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { m.Close() })
	return m
}
