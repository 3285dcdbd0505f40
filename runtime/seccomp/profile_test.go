// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func ptr[T any](v T) *T { return &v }

func TestRefused(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the byte orders of the table are those of amd64")
	}
	one := func(s specs.LinuxSyscall) specs.LinuxSeccomp {
		return specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{s}}
	}
	for _, c := range []struct {
		profile     specs.LinuxSeccomp
		want        string
		unsupported bool
	}{
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/run/agent"},
			"linux.seccomp.listenerPath: user notification: not supported yet", true},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerMetadata: "x"},
			"linux.seccomp.listenerMetadata: user notification: not supported yet", true},
		{specs.LinuxSeccomp{DefaultAction: specs.ActNotify},
			"linux.seccomp.defaultAction: SCMP_ACT_NOTIFY: not supported yet", true},
		{one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActNotify}),
			"linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY: not supported yet", true},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}},
			"linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, which needs SCMP_ACT_NOTIFY: not supported yet", true},
		{specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_GUESS"},
			`linux.seccomp.defaultAction: unknown action "SCMP_ACT_GUESS"`, false},
		{specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{{}}},
			`linux.seccomp.defaultAction: unknown action ""`, false},
		{specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: ptr(uint(65536))},
			"linux.seccomp.defaultErrnoRet: 65536 is more than 16 bits", false},
		{one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActTrace, ErrnoRet: ptr(uint(1 << 20))}),
			"linux.seccomp.syscalls[0].errnoRet: 1048576 is more than 16 bits", false},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"FAST"}},
			`linux.seccomp.flags[0]: unknown flag "FAST"`, false},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_VAX"}},
			`linux.seccomp.architectures[0]: unknown architecture "SCMP_ARCH_VAX"`, false},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86, specs.ArchS390X}},
			"linux.seccomp.architectures[1]: SCMP_ARCH_S390X has another byte order than SCMP_ARCH_X86_64, where this runs", false},
		{one(specs.LinuxSyscall{Names: []string{"read", ""}, Action: specs.ActAllow}),
			"linux.seccomp.syscalls[0].names[1]: empty name", false},
		{one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_LIKE"}}}),
			`linux.seccomp.syscalls[0].args[0].op: unknown operator "SCMP_CMP_LIKE"`, false},
		{one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}),
			"linux.seccomp.syscalls[0].args[0].index: 6: a system call has 6 arguments, counted from 0", false},
		{contradiction(),
			"linux.seccomp.syscalls[1]: contradicts syscalls[0]: same call and conditions, another action", false},
	} {
		_, err := Compile(&c.profile)
		if err == nil {
			t.Errorf("got no error, want %q", c.want)
			continue
		}
		if got, want := err.Error(), "compile seccomp profile: "+c.want; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		var pe *ProfileError
		if !errors.As(err, &pe) {
			t.Errorf("%v: got %T, want *ProfileError", err, err)
		}
		if got := errors.Is(err, errors.ErrUnsupported); got != c.unsupported {
			t.Errorf("%v: is ErrUnsupported: got %v, want %v", err, got, c.unsupported)
		}
	}
}

func contradiction() specs.LinuxSeccomp {
	args := []specs.LinuxSeccompArg{{Index: 1, Value: 7, Op: specs.OpEqualTo}}
	return specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read", "ioctl"}, Action: specs.ActAllow, Args: args},
		{Names: []string{"ioctl"}, Action: specs.ActKill, Args: args},
	}}
}

// A profile too large for the kernel is refused with the entry to blame.
func TestTooLong(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read"}, Action: specs.ActKill},
	}}
	for i := range 3000 {
		if i%6 == 0 {
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActLog})
		}
		s := &p.Syscalls[len(p.Syscalls)-1]
		s.Args = append(s.Args, specs.LinuxSeccompArg{Index: 1, Value: uint64(i) << 20, Op: specs.OpGreaterThan})
	}
	_, err := Compile(p)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"linux.seccomp.syscalls: the filter has ", "the kernel takes 4096", "most rules (6) come from syscalls[100]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		flags []specs.LinuxSeccompFlag
		want  uint64
	}{
		{nil, flagSpecAllow},
		{[]specs.LinuxSeccompFlag{}, 0},
		{[]specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog}, flagLog},
		{[]specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagSpecAllow}, flagTSYNC | flagSpecAllow},
	} {
		f, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: c.flags})
		if err != nil {
			t.Errorf("%q: %v", c.flags, err)
		} else if f.Flags != c.want {
			t.Errorf("%q: got %#x, want %#x", c.flags, f.Flags, c.want)
		}
	}
}

func TestNoProfileIsNoFilter(t *testing.T) {
	for _, p := range []*specs.LinuxSeccomp{nil, {}, {Architectures: []specs.Arch{specs.ArchX86}}} {
		f, err := Compile(p)
		if err != nil || f.Prog != nil || f.Flags != 0 {
			t.Errorf("%v: got %+v and %v, want the zero Filter", p, f, err)
		}
	}
}

// The stories are rules that surprise; each says where it comes from.
func TestStories(t *testing.T) {
	native := nativeArch("amd64")
	nr := func(name string) uint32 {
		n, ok := native.number(name)
		if !ok {
			t.Fatalf("no number of %q", name)
		}
		return n
	}
	allow := func(names ...string) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: names, Action: specs.ActAllow}
	}
	arg := func(i uint, op specs.LinuxSeccompOperator, v uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: i, Op: op, Value: v}
	}
	const eperm, nosys = retErrno | 1, retErrno | 38
	audit := native.audit
	for _, c := range []struct {
		story   string
		profile specs.LinuxSeccomp
		call    data
		want    uint32
	}{
		{"a call newer than the profile does not exist (runc's stub)",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{allow("read", "rseq")}},
			data{nr: nr("rseq") + 1, arch: audit}, nosys},
		{"a call older than that is denied",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{allow("read", "rseq")}},
			data{nr: nr("rseq") - 1, arch: audit}, eperm},
		{"a name that no architecture knows is not the newest",
			specs.LinuxSeccomp{DefaultAction: specs.ActKill, Syscalls: []specs.LinuxSyscall{allow("frobnicate", "write")}},
			data{nr: nr("write") + 1, arch: audit}, nosys},
		{"an entry with the default action still says which calls are known",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"clone3"}, Action: specs.ActErrno}}},
			data{nr: nr("openat2"), arch: audit}, nosys},
		{"but makes no rule, not even one that shadows",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
				{Names: []string{"read"}, Action: specs.ActErrno}, allow("read", "clone3")}},
			data{nr: nr("read"), arch: audit}, retAllow},
		{"a permissive default action needs no stub",
			specs.LinuxSeccomp{DefaultAction: specs.ActLog, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActKill}}},
			data{nr: 5000, arch: audit}, retLog},
		{"only call 0 named is no call named (runc)",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{allow("read")}},
			data{nr: 5000, arch: audit}, eperm},
		{"another architecture is killed, whatever the default action",
			specs.LinuxSeccomp{DefaultAction: specs.ActAllow},
			data{nr: 0, arch: archByName(specs.ArchX86).audit}, retKillThread},
		{"and so is x32 when it is not listed",
			specs.LinuxSeccomp{DefaultAction: specs.ActAllow},
			data{nr: x32Bit, arch: audit}, retKillThread},
		{"but not -1, with which a tracer skips a call",
			specs.LinuxSeccomp{DefaultAction: specs.ActAllow},
			data{nr: ^uint32(0), arch: audit}, retAllow},
		{"two conditions on one argument stand alone (runc#2735)",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"socket", "clone3"}, Action: specs.ActAllow,
				Args: []specs.LinuxSeccompArg{arg(0, specs.OpGreaterEqual, 5), arg(0, specs.OpLessEqual, 2)}}}},
			data{nr: nr("socket"), arch: audit, args: [6]uint64{7}}, retAllow},
		{"conditions on different arguments hold together",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"socket", "clone3"}, Action: specs.ActAllow,
				Args: []specs.LinuxSeccompArg{arg(0, specs.OpGreaterEqual, 5), arg(1, specs.OpLessEqual, 2)}}}},
			data{nr: nr("socket"), arch: audit, args: [6]uint64{7, 3}}, eperm},
		{"the upper half of an argument counts",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"personality", "clone3"}, Action: specs.ActAllow,
				Args: []specs.LinuxSeccompArg{arg(0, specs.OpEqualTo, 8)}}}},
			data{nr: nr("personality"), arch: audit, args: [6]uint64{1<<32 | 8}}, eperm},
		{"bits of a value outside its mask are ignored (libseccomp)",
			specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"clone", "clone3"}, Action: specs.ActAllow,
				Args: []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpMaskedEqual, Value: 0xf0, ValueTwo: 0x13}}}}},
			data{nr: nr("clone"), arch: audit, args: [6]uint64{0x1f}}, retAllow},
		{"errno 0 makes a call a no-op that succeeds",
			specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"fsync"}, Action: specs.ActErrno, ErrnoRet: ptr(uint(0))}}},
			data{nr: nr("fsync"), arch: audit}, retErrno},
		{"the first rule without conditions wins over all",
			specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
				{Names: []string{"ioctl"}, Action: specs.ActKill, Args: []specs.LinuxSeccompArg{arg(1, specs.OpEqualTo, 1)}},
				{Names: []string{"ioctl"}, Action: specs.ActLog}, {Names: []string{"ioctl"}, Action: specs.ActTrap}}},
			data{nr: nr("ioctl"), arch: audit, args: [6]uint64{0, 1}}, retLog},
	} {
		m := build(t, &c.profile, native)
		if got := m.run(c.call); got != c.want {
			t.Errorf("%s: got %#x, want %#x", c.story, got, c.want)
		}
	}
}

// A call of an architecture that multiplexes is also reached through its
// multiplexer.
func TestMultiplexed(t *testing.T) {
	native := nativeArch("386")
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"accept"}, Action: specs.ActTrap},
		{Names: []string{"shmget"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{{Index: 2, Value: 9, Op: specs.OpEqualTo}}},
	}}
	m := build(t, p, native)
	socketcall, _ := native.number("socketcall")
	ipc, _ := native.number("ipc")
	for _, c := range []struct {
		call data
		want uint32
	}{
		{data{nr: socketcall, args: [6]uint64{5}}, retTrap},
		{data{nr: socketcall, args: [6]uint64{4}}, retAllow},
		{data{nr: ipc, args: [6]uint64{23, 0, 9}}, retLog},
		{data{nr: ipc, args: [6]uint64{23, 0, 8}}, retAllow},
	} {
		c.call.arch = native.audit
		if got := m.run(c.call); got != c.want {
			t.Errorf("%v: got %#x, want %#x", c.call, got, c.want)
		}
	}
}

func ExampleCompile() {
	_, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"bpf"}, Action: specs.ActNotify}},
	})
	fmt.Println(err)
	// Output: compile seccomp profile: linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY: not supported yet
}

func ExampleCache() {
	var filters Cache // one for the life of the server
	profile := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{}}
	f, err := filters.Compile(profile)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(f.Prog)%8, f.Flags, f.Digest[:8])
	// Output: 0 0 da2f22ed
}
