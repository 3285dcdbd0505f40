// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// opNames are the words that begin a line of text, by number.
var opNames = [OpCount]string{
	OpEnd: "end", OpSetns: "setns", OpUnshare: "unshare", OpFork: "fork", OpCgroup1: "cgroup1", OpOOMScore: "oom-score",
	OpKeyring: "keyring", OpSetsid: "setsid", OpDup: "dup", OpNull: "null", OpTTY: "tty", OpPropagate: "propagate",
	OpMountHost: "mount-host", OpRoot: "root", OpMount: "mount", OpBind: "bind", OpMknod: "mknod", OpSymlink: "symlink",
	OpPivot: "pivot", OpMask: "mask", OpReadonly: "readonly", OpRootReadonly: "root-readonly", OpRootPropagate: "root-propagate",
	OpSysctl: "sysctl", OpHostname: "hostname", OpDomainname: "domainname", OpLoopback: "loopback", OpRlimit: "rlimit",
	OpUmask: "umask", OpChdir: "chdir", OpUser: "user", OpBound: "bound", OpCaps: "caps", OpKeepCaps: "keep-caps",
	OpNoNewPrivs: "no-new-privs", OpSeccomp: "seccomp", OpLookup: "lookup", OpHooks: "hooks", OpReady: "ready", OpExec: "exec",
	OpExecHost: "exec-host", OpMkdir: "mkdir", OpMapUsers: "map-users", OpRootUser: "root-user", OpTime: "time", OpSource: "source",
	OpIdmapHost: "idmap-host", OpUnmountHost: "unmount-host", OpRemount: "remount", OpScheduler: "scheduler",
	OpIOPriority: "io-priority", OpPersonality: "personality", OpAffinity: "affinity", OpMemPolicy: "mem-policy",
	OpLabel: "label",
}

var hookNames = map[uint64]string{
	HookCreateRuntime: "create-runtime", HookCreateContainer: "create-container", HookStartContainer: "start-container",
}

func (o Op) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return fmt.Sprintf("op-%d", uint16(o))
}

// String prints one line for each step, after one for what the clone makes.
// It is the format of the golden files; nothing reads it back.
func (p *Plan) String() string {
	var out strings.Builder
	out.WriteString(strings.TrimSpace("clone "+words(p.Clone, cloneWords)) + "\n")
	for i := range p.Steps {
		s := &p.Steps[i]
		line := s.String()
		if s.FD >= 0 && s.FD < len(p.Files) {
			line = strings.Replace(line, fdWord(s.FD), p.Files[s.FD].String(), 1)
		}
		out.WriteString(line)
		out.WriteByte('\n')
	}
	return out.String()
}

func (f File) String() string {
	switch f.Kind {
	case FileStdin:
		return "stdin"
	case FileStdout:
		return "stdout"
	case FileStderr:
		return "stderr"
	case FileNamespace:
		return fmt.Sprintf("%s at %s", words(f.NSType, cloneWords), f.Path)
	case FileCgroup1:
		return fmt.Sprintf("[%d] %s", f.N, f.Path)
	case FileTarget:
		return "target"
	case FileExtra:
		return fmt.Sprintf("extra[%d]", f.N)
	}
	return fmt.Sprintf("file-%d", f.Kind)
}

func fdWord(fd int) string {
	return fmt.Sprintf("file[%d]", fd)
}

// String prints the operands that the op has, in the order in which mount(8)
// and its like take them.
func (s *Step) String() string {
	parts := append([]string{s.Op.String()}, s.operands()...)
	if s.Flags&FlagOptional != 0 {
		parts = append(parts, "(optional)")
	}
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, " ")
}

func (s *Step) operands() []string {
	switch s.Op {
	case OpSetns:
		return []string{fdWord(s.FD), words(s.A, cloneWords)}
	case OpUnshare:
		return []string{words(s.A, cloneWords)}
	case OpCgroup1:
		return []string{fdWord(s.FD)}
	case OpOOMScore:
		return []string{fmt.Sprint(int64(s.A))}
	case OpKeyring, OpHostname, OpDomainname:
		return []string{quote(s.S[0])}
	case OpDup:
		return []string{fdWord(s.FD), "as", fmt.Sprint(s.A)}
	case OpNull:
		return []string{"as", fmt.Sprint(s.A)}
	case OpTTY:
		return []string{fmt.Sprintf("%dx%d", s.B&0xffff, s.B>>16), owner(s.A), flagWord(s.Flags, FlagConsole, "console")}
	case OpSysctl:
		return []string{s.S[0], "=", quote(s.S[1])}
	case OpHooks:
		return []string{hookNames[s.A]}
	case OpMapUsers, OpTime, OpSource, OpIdmapHost, OpUnmountHost:
		return s.hostOperands()
	case OpScheduler, OpIOPriority, OpPersonality, OpAffinity, OpMemPolicy, OpLabel:
		return s.schedulingOperands()
	case OpRlimit, OpUmask, OpUser, OpBound, OpCaps, OpSeccomp:
		return s.attributeOperands()
	case OpChdir, OpLookup, OpExec, OpExecHost:
		return s.programOperands()
	}
	return s.mountOperands()
}

func (s *Step) mountOperands() []string {
	loop := flagWord(s.Flags, FlagLoop, "(through a loop device)")
	switch s.Op {
	case OpPropagate, OpRootPropagate:
		return []string{words(s.A, msWords)}
	case OpMountHost:
		return []string{quote(s.S[0]), quote(s.S[1]), "on", quote(s.S[2]), words(s.A, msWords), data(s.S[3]), loop}
	case OpRoot:
		return []string{quote(s.S[2])}
	case OpMount:
		return []string{
			quote(s.S[0]), quote(s.S[1]), "on", quote(s.S[2]), words(s.A, attrWords), atime(s.A), data(strings.ReplaceAll(s.S[3], "\x00", ",")),
			also("propagation", words(s.C, msWords)), flagWord(s.Flags, FlagCopyUp, "(with what was there)"), loop,
		}
	case OpBind:
		from := quote(s.S[1])
		if s.Flags&FlagSource != 0 {
			from = fmt.Sprintf("source[%d]", s.FD)
		}
		return []string{
			from, "on", quote(s.S[2]), flagWord(s.Flags, FlagRec, "rec"), words(s.A, attrWords), bindAtime(s.A, s.B),
			also("clear", words(s.B, attrWords)), flagWord(s.Flags, FlagAttrRec, "(recursively)"), also("propagation", words(s.C, msWords)),
		}
	case OpMknod:
		return append([]string{quote(s.S[2])}, s.nodeOperands()...)
	case OpSymlink:
		return []string{quote(s.S[2]), "->", quote(s.S[0])}
	case OpPivot:
		if s.A != 0 {
			return []string{"by moving"}
		}
	case OpMask, OpReadonly:
		return []string{quote(s.S[2])}
	case OpRemount:
		return []string{
			quote(s.S[2]), words(s.A, attrWords), bindAtime(s.A, s.B), also("clear", words(s.B, attrWords)),
			data(strings.ReplaceAll(s.S[3], "\x00", ",")), flagWord(s.Flags, FlagAttrRec, "(recursively)"), also("propagation", words(s.C, msWords)),
		}
	case OpMkdir:
		return []string{quote(s.S[2]), fmt.Sprintf("%#o", s.A)}
	}
	return nil
}

func (s *Step) nodeOperands() []string {
	kind := map[uint64]string{modeChar: "c", modeBlock: "b", modeFifo: "p"}[s.A&modeType]
	major, minor := devNumbers(s.B)
	numbers := fmt.Sprintf("%d:%d", major, minor)
	if kind == "p" {
		numbers = ""
	}
	bind := ""
	if s.Flags&FlagBindDev != 0 {
		bind = "or bind " + quote(s.S[1])
	}
	return []string{kind, numbers, fmt.Sprintf("%#o", s.A&^modeType), owner(s.C), bind}
}

func (s *Step) attributeOperands() []string {
	switch s.Op {
	case OpRlimit:
		for name, n := range rlimitNumbers {
			if n == s.A {
				return []string{strings.ToLower(strings.TrimPrefix(name, "RLIMIT_")), limit(s.B), limit(s.C)}
			}
		}
		return []string{fmt.Sprint(s.A), limit(s.B), limit(s.C)}
	case OpUmask:
		return []string{fmt.Sprintf("%#o", s.A)}
	case OpUser:
		return []string{fmt.Sprintf("%d:%d", s.A, s.B), also("groups", groups(s.S[0]))}
	case OpBound:
		return []string{capWords(s.A)}
	case OpCaps:
		var ambient uint64
		if len(s.S[0]) == 8 {
			ambient = binary.LittleEndian.Uint64([]byte(s.S[0]))
		}
		held := "effective=" + capWords(s.A) + " permitted=" + capWords(s.B)
		if s.A == s.B {
			held = "effective=permitted=" + capWords(s.A)
		}
		return []string{held, "inheritable=" + capWords(s.C), "ambient=" + capWords(ambient)}
	case OpSeccomp:
		return []string{fmt.Sprintf("%d instructions", len(s.S[0])/8), also("flags", hexOrNone(s.A)), flagWord(s.Flags, FlagListener, "(with a listener)")}
	}
	return nil
}

func (s *Step) programOperands() []string {
	switch s.Op {
	case OpChdir:
		return []string{quote(s.S[0]), flagWord(s.Flags, FlagMkdir, "(made when absent)")}
	case OpLookup:
		words := []string{quote(s.S[0]), "in", quote(s.S[1])}
		if s.Flags&FlagHome != 0 {
			words = append(words, "with the home of", fmt.Sprint(s.A))
		}
		return words
	case OpExec:
		return []string{list(s.S[0]), "env", list(s.S[1]), flagWord(s.Flags, FlagInit, "(below a reaper)"),
			flagWord(s.Flags, FlagStay, "(which stays to the last)")}
	case OpExecHost:
		return []string{quote(s.S[2]), list(s.S[0]), "env", list(s.S[1])}
	}
	return nil
}
