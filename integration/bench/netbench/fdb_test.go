// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"foundry/bpf"
)

const (
	manyKeys = 1_000_000
	fewKeys  = 100
	stride   = manyKeys / fewKeys // the few are spread among the many
)

// shuffled gives each frame another receiver, and then to a program.
type shuffled struct {
	*gauge
	program *ebpf.Program
}

// keyMAC is that of a number, which a frame's bytes 2 to 5 say.
func keyMAC(n uint32) (m bpf.Mac) {
	m.B[0] = 2
	binary.BigEndian.PutUint32(m.B[2:], n)
	return m
}

// fill adds keys, all of which lead to one container.
func (g *gauge) fill(n, step uint32) {
	g.Helper()
	keys, values := make([]bpf.FdbKey, n), make([]bpf.FdbEntry, n)
	for i := range n {
		keys[i] = bpf.FdbKey{Vni: network, Mac: keyMAC(i * step)}
		values[i] = bpf.FdbEntry{Type: bpf.TCFdbTypeFDB_LOCAL, Flags: bpf.TCFdbFlagFDB_XDP, Target: uint32(g.b.ifindex),
			Endpoint: uint32(g.b.ifindex), Mtu: wireMTU}
	}
	// Not by a State: this is about what the programs find, not about how it got there.
	if done, err := g.pinned("fdb").BatchUpdate(keys, values, nil); err != nil {
		g.Fatalf("fill FDB: %d of %d: %v", done, n, err)
	}
}

// shuffle is a program that writes one of n numbers, step apart, into the
// destination of a frame, and goes on with the program of its container.
func (g *gauge) shuffle(n, step int32) shuffled {
	g.Helper()
	next, err := ebpf.NewMap(&ebpf.MapSpec{Name: "next", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { next.Close() })
	p := verdict(g.B, asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetPrandomU32.Call(),
		asm.Mod.Imm32(asm.R0, n),
		asm.Mul.Imm32(asm.R0, step),
		asm.HostTo(asm.BE, asm.R0, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 14),
		asm.JGT.Reg(asm.R4, asm.R3, "leave"),
		asm.StoreMem(asm.R2, 2, asm.R0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, next.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("leave"),
		asm.Return(),
	}, "shuffle")
	if err := next.Put(uint32(0), g.program("xdp_endpoint", g.a.ifindex)); err != nil {
		g.Fatalf("link shuffle to xdp_endpoint: %v", err)
	}
	return shuffled{g, p}
}

// rate is how many frames a second it gets through.
func (s shuffled) rate(times uint32) float64 {
	s.Helper()
	before := s.received()
	ns := s.cost(s.program, s.a.ifindex, datagram("02:00:00:00:00:00"), times)
	if got := s.received() - before; got < uint64(times)*99/100 {
		s.Fatalf("%d of %d frames arrived", got, times)
	}
	return 1e9 / ns
}

// tables are FDBs of two sizes, asked for few and for all.
func tables(b *testing.B, mount string) map[string]shuffled {
	b.Helper()
	small := newGauge(b, mount+"/small", 0)
	// Room for twice as many: a hash table that is full is a slow one.
	large := newGauge(b, mount+"/large", 2*manyKeys)
	small.fill(fewKeys, stride)
	large.fill(manyKeys, 1)
	return map[string]shuffled{FDBSmall: small.shuffle(fewKeys, stride), FDBHot: large.shuffle(fewKeys, stride), FDBUniform: large.shuffle(manyKeys, 1)}
}
