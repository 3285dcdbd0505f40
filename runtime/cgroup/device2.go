// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// programs keeps device filters that are loaded: containers of one host differ
// in few ways here, and verifying a program costs far more than attaching it.
type programs struct {
	mu     sync.Mutex
	loaded map[string]*ebpf.Program // by ruleset.String()
}

// maxPrograms bounds the descriptors that the cache holds.
const maxPrograms = 16

func newPrograms() *programs { return &programs{loaded: map[string]*ebpf.Program{}} }

// get returns a program of its own for the caller to close.
func (p *programs) get(rules ruleset) (*ebpf.Program, error) {
	if p == nil {
		return loadFilter(rules)
	}
	key := rules.String()
	p.mu.Lock()
	defer p.mu.Unlock()
	prog, ok := p.loaded[key]
	if !ok {
		var err error
		if prog, err = loadFilter(rules); err != nil {
			return nil, err
		}
		for old := range p.loaded {
			if len(p.loaded) < maxPrograms {
				break
			}
			p.loaded[old].Close()
			delete(p.loaded, old)
		}
		p.loaded[key] = prog
	}
	return prog.Clone()
}

func loadFilter(rules ruleset) (*ebpf.Program, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "foundry_devices",
		Type:         ebpf.CGroupDevice,
		Instructions: compile(rules),
		License:      "Apache-2.0",
	})
	if err != nil {
		return nil, fmt.Errorf("load device filter: %w (needs CAP_BPF or CAP_SYS_ADMIN)", err)
	}
	return prog, nil
}

// compile makes one block of instructions for each exception. The kernel
// passes struct bpf_cgroup_dev_ctx {access << 16 | type, major, minor}.
//
// An exception from "deny" applies when it covers every access that is asked
// for, an exception from "allow" when it covers any of them.
func compile(rules ruleset) asm.Instructions {
	prog := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.And.Imm(asm.R2, 0xffff), // type
		asm.RSh.Imm(asm.R3, 16),     // access
		asm.LoadMem(asm.R4, asm.R1, 4, asm.Word),
		asm.LoadMem(asm.R5, asm.R1, 8, asm.Word),
	}
	label := ""
	add := func(block asm.Instructions, next string) {
		if label != "" {
			block[0] = block[0].WithSymbol(label)
		}
		prog, label = append(prog, block...), next
	}
	for n, d := range rules.sorted() {
		next := "next" + strconv.Itoa(n)
		add(exception(d, rules.except[d], rules.allow, next), next)
	}
	add(verdict(rules.allow), "")
	return prog
}

// exception compiles one: go on at next, or answer against the default.
func exception(d device, acc access, allow bool, next string) asm.Instructions {
	kind := int32(unix.BPF_DEVCG_DEV_CHAR)
	if d.kind == 'b' {
		kind = unix.BPF_DEVCG_DEV_BLOCK
	}
	block := asm.Instructions{asm.JNE.Imm(asm.R2, kind, next)}
	switch {
	case allow:
		block = append(block, asm.Mov.Reg(asm.R1, asm.R3), asm.And.Imm(asm.R1, int32(acc)), asm.JEq.Imm(asm.R1, 0, next))
	case acc != accAll:
		block = append(block, asm.Mov.Reg(asm.R1, asm.R3), asm.And.Imm(asm.R1, int32(accAll&^acc)), asm.JNE.Imm(asm.R1, 0, next))
	}
	if d.major != anyNumber {
		block = append(block, asm.JNE.Imm(asm.R4, int32(d.major), next))
	}
	if d.minor != anyNumber {
		block = append(block, asm.JNE.Imm(asm.R5, int32(d.minor), next))
	}
	return append(block, verdict(!allow)...)
}

func verdict(allow bool) asm.Instructions {
	answer := int32(0)
	if allow {
		answer = 1
	}
	return asm.Instructions{asm.Mov.Imm(asm.R0, answer), asm.Return()}
}

// filter2 attaches the filter for rules to the group. A filter of ours that is
// there is exchanged in one step (kernel 5.6), so that no access slips through
// and none that both allow is refused. A fresh group has none.
func (g *Group) filter2(rules ruleset, fresh bool) error {
	prog, err := g.info.programs.get(rules)
	if err != nil {
		return err
	}
	defer prog.Close()
	dir, err := os.Open(g.v2)
	if err != nil {
		return fmt.Errorf("attach device filter: %w", err)
	}
	defer dir.Close()
	var old []*ebpf.Program
	if !fresh {
		if old, err = attached(dir); err != nil {
			return err
		}
	}
	defer closePrograms(old)
	return exchange(dir, prog, old)
}

// attached opens the filters that are on the group itself.
func attached(dir *os.File) ([]*ebpf.Program, error) {
	res, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		return nil, fmt.Errorf("list device filters of %s: %w", dir.Name(), err)
	}
	var found []*ebpf.Program
	for _, p := range res.Programs {
		prog, err := ebpf.NewProgramFromID(p.ID)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
			continue // another's, and it can only forbid more
		}
		if err != nil {
			closePrograms(found)
			return nil, fmt.Errorf("open device filter %d of %s: %w", p.ID, dir.Name(), err)
		}
		found = append(found, prog)
	}
	return found, nil
}

func exchange(dir *os.File, prog *ebpf.Program, old []*ebpf.Program) error {
	opts := link.RawAttachProgramOptions{Target: int(dir.Fd()), Program: prog, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI}
	if len(old) > 0 {
		if same(prog, old[0]) {
			return nil // the kernel refuses to replace a program by itself
		}
		opts.Anchor = link.ReplaceProgram(old[0])
	}
	if err := link.RawAttachProgram(opts); err != nil {
		return fmt.Errorf("attach device filter to %s: %w", dir.Name(), err)
	}
	for _, p := range old[min(1, len(old)):] {
		if err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: int(dir.Fd()), Program: p, Attach: ebpf.AttachCGroupDevice}); err != nil {
			return fmt.Errorf("detach old device filter from %s: %w", dir.Name(), err)
		}
	}
	return nil
}

func same(a, b *ebpf.Program) bool {
	x, err1 := a.Info()
	y, err2 := b.Info()
	if err1 != nil || err2 != nil {
		return false
	}
	i, _ := x.ID()
	j, _ := y.ID()
	return i == j
}

func closePrograms(list []*ebpf.Program) {
	for _, p := range list {
		p.Close()
	}
}
