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

// long: a table.
func TestRefused(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the byte orders of the table are those of amd64")
	}
	one := func(s specs.LinuxSyscall) specs.LinuxSeccomp {
		return specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{s}}
	}
	for _, c := range []struct {
		profile specs.LinuxSeccomp
		want    string
	}{
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerMetadata: "x"},
			"linux.seccomp.listenerMetadata: set without listenerPath"},
		{specs.LinuxSeccomp{DefaultAction: specs.ActNotify},
			"linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default: an agent would have to answer for every call"},
		{specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_GUESS"},
			`linux.seccomp.defaultAction: unknown action "SCMP_ACT_GUESS"`},
		{specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{{}}},
			`linux.seccomp.defaultAction: unknown action ""`},
		{specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: ptr(uint(65536))},
			"linux.seccomp.defaultErrnoRet: 65536 is more than 16 bits"},
		{one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActTrace, ErrnoRet: ptr(uint(1 << 20))}),
			"linux.seccomp.syscalls[0].errnoRet: 1048576 is more than 16 bits"},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"FAST"}},
			`linux.seccomp.flags[0]: unknown flag "FAST"`},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_VAX"}},
			`linux.seccomp.architectures[0]: unknown architecture "SCMP_ARCH_VAX"`},
		{specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86, specs.ArchS390X}},
			"linux.seccomp.architectures[1]: SCMP_ARCH_S390X has another byte order than SCMP_ARCH_X86_64, where this runs"},
		{one(specs.LinuxSyscall{Names: []string{"read", ""}, Action: specs.ActAllow}),
			"linux.seccomp.syscalls[0].names[1]: empty name"},
		{one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_LIKE"}}}),
			`linux.seccomp.syscalls[0].args[0].op: unknown operator "SCMP_CMP_LIKE"`},
		{one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}),
			"linux.seccomp.syscalls[0].args[0].index: 6: a system call has 6 arguments, counted from 0"},
		{contradiction(),
			"linux.seccomp.syscalls[1]: contradicts syscalls[0]: same call and conditions, another action"},
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

func TestCallName(t *testing.T) {
	for _, c := range []struct {
		audit, number uint32
		want          string
	}{
		{0xc000003e, 163, "acct"},
		{0xc000003e, x32Bit | 163, "acct"},
		{0x40000003, 51, "acct"},
		{0xc00000b7, 89, "acct"},
		{0xc000003e, 999, "call 999"},
		{7, 1, "call 1"},
	} {
		if got := CallName(c.audit, c.number); got != c.want {
			t.Errorf("%#x %d: got %q, want %q", c.audit, c.number, got, c.want)
		}
	}
}

// The flags for seccomp(2) of profiles with and without an agent.
func TestListenerFlags(t *testing.T) {
	tsync, wait := specs.LinuxSeccompFlag("SECCOMP_FILTER_FLAG_TSYNC"), specs.LinuxSeccompFlagWaitKillableRecv
	for _, c := range []struct {
		action specs.LinuxSeccompAction
		flags  []specs.LinuxSeccompFlag
		want   uint64
		notify bool
	}{
		{specs.ActTrap, []specs.LinuxSeccompFlag{wait}, 0, false},
		{specs.ActNotify, nil, flagSpecAllow, true},
		{specs.ActNotify, []specs.LinuxSeccompFlag{wait}, flagWaitKillable, true},
		{specs.ActNotify, []specs.LinuxSeccompFlag{tsync}, flagTSYNC, true},
	} {
		f, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: c.flags,
			Syscalls: []specs.LinuxSyscall{{Names: []string{"acct"}, Action: c.action}}})
		if err != nil || f.Flags != c.want || f.Notify != c.notify {
			t.Errorf("%s %q: got %#x, %v, %v; want %#x, %v", c.action, c.flags, f.Flags, f.Notify, err, c.want, c.notify)
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
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"bpf"}, Action: "SCMP_ACT_ASK"}},
	})
	fmt.Println(err)
	// Output: compile seccomp profile: linux.seccomp.syscalls[0].action: unknown action "SCMP_ACT_ASK"
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
