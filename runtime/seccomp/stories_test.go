// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// story is a rule that surprises, and who made it.
type story struct {
	name    string
	profile specs.LinuxSeccomp
	call    data
	want    uint32
}

func tell(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		m := build(t, &s.profile, nativeArch("amd64"))
		if got := m.run(s.call); got != s.want {
			t.Errorf("%s: got %#x, want %#x", s.name, got, s.want)
		}
	}
}

// profileOf has a default action and entries.
func profileOf(action specs.LinuxSeccompAction, entries ...specs.LinuxSyscall) specs.LinuxSeccomp {
	return specs.LinuxSeccomp{DefaultAction: action, Syscalls: entries}
}

func clause(action specs.LinuxSeccompAction, names []string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Action: action, Names: names, Args: args}
}

func names(list ...string) []string { return list }

func arg(index uint, op specs.LinuxSeccompOperator, value uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Op: op, Value: value}
}

// amd64 is a call of that architecture.
func amd64(number uint32, args ...uint64) data {
	d := data{nr: number, arch: nativeArch("amd64").audit}
	copy(d.args[:], args)
	return d
}

func numberOf(name string) uint32 {
	n, ok := nativeArch("amd64").number(name)
	if !ok {
		panic("no number of " + name)
	}
	return n
}

const denied, missing = retErrno | eperm, retErrno | enosys

func TestStoriesOfUnknownCalls(t *testing.T) {
	knowsRseq := profileOf(specs.ActErrno, clause(specs.ActAllow, names("read", "rseq")))
	tell(t, []story{
		{"a call newer than the profile does not exist (runc)", knowsRseq, amd64(numberOf("rseq") + 1), missing},
		{"a call older than that is denied", knowsRseq, amd64(numberOf("rseq") - 1), denied},
		{"a name that no architecture has is not the newest",
			profileOf(specs.ActKill, clause(specs.ActAllow, names("frobnicate", "write"))), amd64(numberOf("write") + 1), missing},
		{"a permissive default action lets unknown calls through",
			profileOf(specs.ActLog, clause(specs.ActKill, names("read"))), amd64(5000), retLog},
		{"to name only call 0 is to name none (runc)",
			profileOf(specs.ActErrno, clause(specs.ActAllow, names("read"))), amd64(5000), denied},
		{"an entry with the default action says which calls are known",
			profileOf(specs.ActErrno, clause(specs.ActErrno, names("clone3"))), amd64(numberOf("clone3") + 1), missing},
		{"but makes no rule, not even one that shadows",
			profileOf(specs.ActErrno, clause(specs.ActErrno, names("read")), clause(specs.ActAllow, names("read", "clone3"))),
			amd64(numberOf("read")), retAllow},
	})
}

func TestStoriesOfArchitectures(t *testing.T) {
	foreign := amd64(0)
	foreign.arch = archByName(specs.ArchX86).audit
	all := profileOf(specs.ActAllow)
	tell(t, []story{
		{"another architecture is killed, whatever the default action", all, foreign, retKillThread},
		{"and so is x32 when it is not listed", all, amd64(x32Bit), retKillThread},
		{"but not -1, with which a tracer skips a call", all, amd64(^uint32(0)), retAllow},
		{"the first rule without conditions wins over all",
			profileOf(specs.ActAllow, clause(specs.ActKill, names("ioctl"), arg(1, specs.OpEqualTo, 1)),
				clause(specs.ActLog, names("ioctl")), clause(specs.ActTrap, names("ioctl"))),
			amd64(numberOf("ioctl"), 0, 1), retLog},
	})
}

func TestStoriesOfArguments(t *testing.T) {
	allowing := func(name string, args ...specs.LinuxSeccompArg) specs.LinuxSeccomp {
		return profileOf(specs.ActErrno, clause(specs.ActAllow, names(name, "clone3"), args...))
	}
	above, below := arg(0, specs.OpGreaterEqual, 5), arg(0, specs.OpLessEqual, 2)
	masked := specs.LinuxSeccompArg{Index: 0, Op: specs.OpMaskedEqual, Value: 0xf0, ValueTwo: 0x13}
	tell(t, []story{
		{"two conditions on one argument stand alone (runc#2735)",
			allowing("socket", above, below), amd64(numberOf("socket"), 7), retAllow},
		{"conditions on different arguments hold together",
			allowing("socket", above, arg(1, specs.OpLessEqual, 2)), amd64(numberOf("socket"), 7, 3), denied},
		{"the upper half of an argument counts",
			allowing("personality", arg(0, specs.OpEqualTo, 8)), amd64(numberOf("personality"), 1<<32|8), denied},
		{"bits of a value outside its mask are ignored (libseccomp)",
			allowing("clone", masked), amd64(numberOf("clone"), 0x1f), retAllow},
		{"a mask of nothing is no condition",
			allowing("clone", arg(0, specs.OpMaskedEqual, 0)), amd64(numberOf("clone"), 7), retAllow},
	})
}
