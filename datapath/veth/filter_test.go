// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// program is one that lets everything pass.
func program(t *testing.T) (p *ebpf.Program, id int) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	number, ok := info.ID()
	if !ok {
		t.Fatal("the program has no number")
	}
	return p, int(number)
}

func TestFilter(t *testing.T) {
	ns := newNS(t)
	p := mustCreate(t, Config{Name: "fe-1", NS: ns})
	first, firstID := program(t)
	second, secondID := program(t)
	f := Filter{Ifindex: p.Ifindex, Priority: 1, Handle: 1, Name: "tc_endpoint"}
	is := func(what string, want int) {
		t.Helper()
		if got, err := f.Program(); err != nil || got != want {
			t.Errorf("%s: got program %d, %v, want %d", what, got, err, want)
		}
	}
	is("before the qdisc", 0)
	for range 2 {
		if err := errors.Join(f.Detach(), Clsact(p.Ifindex)); err != nil {
			t.Fatal(err)
		}
	}
	is("at first", 0)
	for _, c := range []struct {
		program *ebpf.Program
		id      int
	}{{first, firstID}, {second, secondID}, {second, secondID}} {
		if err := f.Attach(c.program.FD()); err != nil {
			t.Fatal(err)
		}
		is("attached", c.id)
	}
	other := f
	other.Priority = 2
	if err := other.Attach(first.FD()); err != nil {
		t.Fatal(err)
	}
	is("with another behind it", secondID)
	for range 2 {
		if err := f.Detach(); err != nil {
			t.Fatal(err)
		}
	}
	is("detached", 0)
	if got, err := other.Program(); err != nil || got != firstID {
		t.Errorf("the other: got %d, %v, want %d", got, err, firstID)
	}
	if err := f.Attach(-1); err == nil {
		t.Error("attach no program: no error")
	}
	if err := Delete("fe-1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Detach(); err != nil {
		t.Errorf("detach from a device that is gone: %v", err)
	}
	if err := f.Attach(first.FD()); !errors.Is(err, unix.ENODEV) {
		t.Errorf("attach to a device that is gone: %v", err)
	}
	if err := Clsact(p.Ifindex); !errors.Is(err, unix.ENODEV) {
		t.Errorf("clsact on a device that is gone: %v", err)
	}
}
