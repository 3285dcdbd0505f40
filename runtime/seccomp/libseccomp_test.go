// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// libseccomp is the real one, behind testdata/libseccomp.c.
type libseccomp struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// startLibseccomp builds and starts the oracle. A machine without a C
// compiler or libseccomp's headers skips the test; CI has them.
func startLibseccomp(t *testing.T) *libseccomp {
	t.Helper()
	program := filepath.Join(t.TempDir(), "libseccomp")
	out, err := exec.Command("gcc", "-o", program, "testdata/libseccomp.c", "-lseccomp").CombinedOutput()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("build the oracle: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED, nothing was compared with libseccomp: needs gcc and libseccomp-dev: %v\n%s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Errorf("oracle: %v", err)
		}
	})
	return &libseccomp{t: t, in: in, out: bufio.NewReader(answers)}
}

func (l *libseccomp) tell(format string, args ...any) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l.in, format, args...); err != nil {
		l.t.Fatalf("oracle: %v", err)
	}
}

// numbers is what libseccomp knows of a call, by column.
func (l *libseccomp) numbers(name string) (list [columns]int32) {
	l.t.Helper()
	l.tell("numbers %s\n", name)
	for i := range list {
		if _, err := fmt.Fscan(l.out, &list[i]); err != nil {
			l.t.Fatalf("oracle: %v", err)
		}
	}
	_, _ = l.out.ReadString('\n')
	return list
}

// knows says whether libseccomp and our table have the same numbers of a
// call. An old libseccomp lacks new calls, and it has no number for calls
// that it multiplexes.
func (l *libseccomp) knows(name string) bool {
	known := l.numbers(name)
	for i := range known {
		a := arches[slices.IndexFunc(arches[:], func(a arch) bool { return a.column == i })]
		n, ok := a.number(name)
		switch {
		case known[i] < 0 && a.mux && muxOf(name) != nil:
		case ok != (known[i] >= 0), ok && int32(n) != known[i]:
			return false
		}
	}
	return true
}

// compile is what runc makes of a profile: libseccomp's program behind the
// stub for unknown calls.
func (l *libseccomp) compile(p *specs.LinuxSeccomp, native *arch) (func(data) uint32, error) {
	l.t.Helper()
	var b strings.Builder
	otherwise := action(p.DefaultAction, p.DefaultErrnoRet)
	fmt.Fprintf(&b, "filter %x\narch %d\n", otherwise, native.column)
	for _, name := range p.Architectures {
		if a := archByName(name); a.column != noColumn {
			fmt.Fprintf(&b, "arch %d\n", a.column)
		}
	}
	for _, s := range p.Syscalls {
		act := action(s.Action, s.ErrnoRet)
		if act == otherwise {
			continue
		}
		for _, name := range s.Names {
			if !twice(s.Args) {
				writeRule(&b, act, name, s.Args)
				continue
			}
			for i := range s.Args {
				writeRule(&b, act, name, s.Args[i:i+1])
			}
		}
	}
	l.tell("%send\n", b.String())
	return l.program(p, native)
}

func writeRule(b *strings.Builder, action uint32, name string, args []specs.LinuxSeccompArg) {
	fmt.Fprintf(b, "rule %x %s %d", action, name, len(args))
	for _, a := range args {
		ops := []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
			specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}
		fmt.Fprintf(b, " %d %d %d %d", a.Index, slices.Index(ops, a.Op), a.Value, a.ValueTwo)
	}
	b.WriteString("\n")
}

func (l *libseccomp) program(p *specs.LinuxSeccomp, native *arch) (func(data) uint32, error) {
	l.t.Helper()
	var size, failed int
	if _, err := fmt.Fscanf(l.out, "%d %d\n", &size, &failed); err != nil {
		l.t.Fatalf("oracle: %v", err)
	}
	m := newMachine(&assembler{}, native)
	raw := make([]byte, 8*size)
	if _, err := io.ReadFull(l.out, raw); err != nil {
		l.t.Fatalf("oracle: %v", err)
	}
	for ; len(raw) > 0; raw = raw[8:] {
		i := insn{m.order.Uint16(raw), raw[2], raw[3], m.order.Uint32(raw[4:])}
		if i.code == bpfRet && !returnable(i.k) {
			i.k = bits.ReverseBytes32(i.k) // libseccomp 2.5 swaps some of them twice
		}
		m.code = append(m.code, i)
	}
	if failed != 0 {
		return nil, fmt.Errorf("libseccomp refuses a rule: error %d", failed)
	}
	r := newReader(p, native)
	return func(d data) uint32 {
		if a := whose(p, native, d); a != nil && r.stub(a, d) {
			return retErrno | enosys
		}
		return m.run(d)
	}, nil
}

// returnable says whether a filter may return a value.
func returnable(k uint32) bool {
	switch k & retAction {
	case retErrno, retTrace:
		return true
	case retKillThread, retKillProcess, retTrap, retLog, retAllow, retNotify:
		return k&^retAction == 0
	}
	return false
}

func TestTablesEqualLibseccomp(t *testing.T) {
	l := startLibseccomp(t)
	unknown := 0
	for _, s := range syscalls {
		known := l.numbers(s.name)
		for i, n := range s.numbers {
			switch {
			case known[i] < 0 && n >= 0:
				unknown++ // newer than that libseccomp, or multiplexed
			case max(known[i], -1) != n:
				t.Errorf("%s: column %d: got %d, want %d", s.name, i, n, known[i])
			}
		}
	}
	t.Logf("%d numbers are unknown to this libseccomp", unknown)
}

// only leaves out the names that the installed libseccomp does not know or
// has other numbers for.
func (l *libseccomp) only(p *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	q := *p
	q.Syscalls = slices.Clone(p.Syscalls)
	for i := range q.Syscalls {
		q.Syscalls[i].Names = slices.DeleteFunc(slices.Clone(q.Syscalls[i].Names), func(name string) bool { return !l.knows(name) })
	}
	return &q
}

func TestContainerdEqualsLibseccomp(t *testing.T) {
	l := startLibseccomp(t)
	for name, p := range containerdProfiles() {
		for _, native := range natives() {
			t.Run(fmt.Sprintf("%s/%s", name, native.name), func(t *testing.T) {
				p := l.only(p)
				p.Architectures = listFor(native)
				compareWithLibseccomp(t, l, p, native)
			})
		}
	}
}

// compareWithLibseccomp tries calls. It reports how often libseccomp's answer
// is none that the profile gives: libseccomp 2.5 and 2.6 go wrong where a
// call has several rules with conditions of several kinds.
func compareWithLibseccomp(t *testing.T, l *libseccomp, p *specs.LinuxSeccomp, native *arch) (wrong int) {
	t.Helper()
	reference, refusal := l.compile(p, native)
	asm, _, err := compile(p, native)
	if (refusal == nil) != (err == nil) {
		t.Fatalf("%s: compile: got %v, want %v\n%s", native.name, err, refusal, text(p))
	}
	if err != nil {
		return 0
	}
	m, r := newMachine(asm, native), newReader(p, native)
	each(p, native, func(d data) bool {
		got, want := m.run(d), reference(d)
		if got == want {
			return true
		}
		possible := r.interpret(d)
		if slices.Contains(possible, got) && !slices.Contains(possible, want) {
			wrong++
			return true
		}
		t.Errorf("%s: %v: got %#x, want %#x, the profile says %#x\n%s", native.name, d, got, want, possible, calls(p, d))
		return false
	})
	return wrong
}

func TestRandomEqualsLibseccomp(t *testing.T) {
	l := startLibseccomp(t)
	for name, sh := range map[string]shape{
		"one entry a call":           {ops: operators(), once: true, mixed: true},
		"one entry a call, an agent": {ops: operators(), once: true, mixed: true, more: []specs.LinuxSeccompAction{specs.ActNotify}},
		"equality":                   {ops: operators()[3:4], mixed: true},
		"equality and masks":         {ops: []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpMaskedEqual}, mixed: true},
		"everything with one action": {ops: operators()},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			wrong := 0
			for i := range 200 {
				p := randomProfile(r, sh)
				native := natives()[i%len(natives())]
				p.Architectures = listFor(native)
				wrong += compareWithLibseccomp(t, l, p, native)
			}
			t.Logf("libseccomp answers %d calls as no rule says", wrong)
		})
	}
}
