// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const processRows = 200

// processFeatures are what may be particular about a process and its
// surroundings, in groups of which a row has one at most.
func processFeatures() [][]feature {
	return [][]feature{
		userFeatures(), umaskFeatures(), limitFeatures(), capabilityFeatures(), privilegeFeatures(), cwdFeatures(), envFeatures(),
		argFeatures(), terminalFeatures(), seccompFeatures(), networkFeatures(), nameFeatures(), pidFeatures(), cgroupFeatures(),
		sysctlFeatures(), maskFeatures(), rootFeatures(), schedulingFeatures(), userNamespaceFeatures(),
	}
}

func userFeatures() []feature {
	user := func(word string, u specs.User) feature {
		return plain("user="+word, func(s *specs.Spec) { u.Umask = s.Process.User.Umask; s.Process.User = u })
	}
	return []feature{
		user("1000", specs.User{UID: 1000, GID: 1000}),
		user("1000+groups", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 1000, 40000}}),
		user("root+groups", specs.User{AdditionalGids: []uint32{0, 10, 10}}),
		failing(user("huge", specs.User{UID: 4000000000, GID: 4000000001})),
		user("gid", specs.User{GID: 7}),
	}
}

func umaskFeatures() []feature {
	return []feature{
		plain("umask=0", func(s *specs.Spec) { s.Process.User.Umask = ptr[uint32](0) }),
		plain("umask=77", func(s *specs.Spec) { s.Process.User.Umask = ptr[uint32](0o77) }),
	}
}

func ptr[T any](v T) *T { return &v }

// Nothing is raised: not every host's root may.
func limitFeatures() []feature {
	limits := func(word string, l ...specs.POSIXRlimit) feature {
		return plain("rlimits="+word, func(s *specs.Spec) { s.Process.Rlimits = l })
	}
	return []feature{
		limits("nofile", specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 1000}),
		limits("many", specs.POSIXRlimit{Type: "RLIMIT_CORE"}, specs.POSIXRlimit{Type: "RLIMIT_NPROC", Soft: 500, Hard: 600},
			specs.POSIXRlimit{Type: "RLIMIT_STACK", Soft: 4 << 20, Hard: 8 << 20}, specs.POSIXRlimit{Type: "RLIMIT_MEMLOCK", Soft: 4096, Hard: 8192}),
		limits("rest", specs.POSIXRlimit{Type: "RLIMIT_AS", Soft: 1 << 32, Hard: 1 << 33}, specs.POSIXRlimit{Type: "RLIMIT_CPU", Soft: 100, Hard: 200},
			specs.POSIXRlimit{Type: "RLIMIT_DATA", Soft: 1 << 30, Hard: 1 << 30}, specs.POSIXRlimit{Type: "RLIMIT_FSIZE", Soft: 1 << 20, Hard: 1 << 20},
			specs.POSIXRlimit{Type: "RLIMIT_SIGPENDING", Soft: 10, Hard: 10}, specs.POSIXRlimit{Type: "RLIMIT_MSGQUEUE", Soft: 1000, Hard: 1000}),
		failing(limits("unknown", specs.POSIXRlimit{Type: "RLIMIT_NOSUCH"})),
		failing(limits("above", specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 5})),
		plain("oom=500", func(s *specs.Spec) { s.Process.OOMScoreAdj = ptr(500) }),
		plain("oom=unset", func(s *specs.Spec) { s.Process.OOMScoreAdj = nil }),
		failing(plain("oom=1001", func(s *specs.Spec) { s.Process.OOMScoreAdj = ptr(1001) })),
	}
}

func capabilityFeatures() []feature {
	caps := func(word string, c specs.LinuxCapabilities) feature {
		return plain("caps="+word, func(s *specs.Spec) { s.Process.Capabilities = &c })
	}
	some := []string{"CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"}
	return []feature{
		plain("caps=null", func(s *specs.Spec) { s.Process.Capabilities = nil }),
		caps("none", specs.LinuxCapabilities{}),
		caps("bounding", specs.LinuxCapabilities{Bounding: some}),
		caps("some", specs.LinuxCapabilities{Bounding: some, Permitted: some, Effective: some[:1]}),
		caps("inheritable", specs.LinuxCapabilities{Bounding: some, Permitted: some, Effective: some, Inheritable: some}),
		caps("ambient", specs.LinuxCapabilities{Bounding: some, Permitted: some, Effective: some, Inheritable: some, Ambient: some[1:]}),
		caps("ambient alone", specs.LinuxCapabilities{Bounding: some, Permitted: some, Effective: some, Ambient: some}),
		failing(caps("more effective", specs.LinuxCapabilities{Bounding: some, Permitted: some[:1], Effective: some})),
		caps("unknown", specs.LinuxCapabilities{Bounding: append(slices.Clone(some), "CAP_NOSUCH"), Permitted: some, Effective: some}),
		caps("admin", specs.LinuxCapabilities{Bounding: append(slices.Clone(some), "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"),
			Permitted: append(slices.Clone(some), "CAP_SYS_ADMIN"), Effective: append(slices.Clone(some), "CAP_SYS_ADMIN")}),
	}
}

func privilegeFeatures() []feature {
	return []feature{
		plain("nnp=off", func(s *specs.Spec) { s.Process.NoNewPrivileges = false }),
		plain("nnp=on", func(s *specs.Spec) { s.Process.NoNewPrivileges = true }),
	}
}

func cwdFeatures() []feature {
	cwd := func(path string) feature { return plain("cwd="+path, func(s *specs.Spec) { s.Process.Cwd = path }) }
	return []feature{cwd("/tmp"), cwd("/made/deep"), cwd("/hidden/../tmp/."), failing(cwd("/probe")), failing(cwd("relative")), cwd("/proc/self")}
}

func envFeatures() []feature {
	env := func(word string, e ...string) feature {
		return plain("env="+word, func(s *specs.Spec) { s.Process.Env = e })
	}
	return []feature{
		env("home", "PATH=/bin", "HOME=/elsewhere"),
		env("odd", "PATH=/bin", "EMPTY=", "A=1=2", "TWO WORDS=x y", "TERM=xterm"),
		env("twice", "PATH=/bin", "A=1", "A=2"),
		env("order", "Z=1", "PATH=/nosuch:/bin", "B=2"),
		failing(env("no path", "A=1")),
		env("long", "PATH=/bin", "LONG="+strings.Repeat("x", 20000)),
	}
}

func argFeatures() []feature {
	args := func(word string, a ...string) feature {
		return plain("args="+word, func(s *specs.Spec) { s.Process.Args = a })
	}
	return []feature{
		args("more", "sh", "/probe", "a b", "", "*", "$x"),
		args("absolute", "/bin/sh", "/probe"),
		args("relative", "bin/sh", "/probe"),
		args("exit", "sh", "-c", ". /probe; exit 77"),
		args("signal", "sh", "-c", ". /probe; kill -9 $$"),
		failing(args("absent", "nosuch")),
		failing(args("directory", "/tmp")),
		failing(args("script without interpreter", "/probe")),
	}
}

func terminalFeatures() []feature {
	terminal := func(word string, box *specs.Box, size [2]uint16) feature {
		f := plain("terminal"+word, func(s *specs.Spec) { s.Process.Terminal, s.Process.ConsoleSize = true, box })
		f.console = &size
		return f
	}
	return []feature{
		terminal("", &specs.Box{Height: 24, Width: 80}, [2]uint16{24, 80}), // without a size it is a race in runc
		terminal("=33x101", &specs.Box{Height: 33, Width: 101}, [2]uint16{33, 101}),
	}
}

func ptrTrue(s *specs.Spec) { s.Process.NoNewPrivileges = true }

func seccompFeatures() []feature {
	filter := func(word string, more func(*specs.Spec), f specs.LinuxSeccomp) feature {
		return plain("seccomp="+word, func(s *specs.Spec) { s.Linux.Seccomp = &f; more(s) })
	}
	refuse := []specs.LinuxSyscall{{Names: []string{"swapon", "acct", "nosuch_call"}, Action: specs.ActErrno, ErrnoRet: ptr[uint](38)}}
	nothing := func(*specs.Spec) {}
	return []feature{
		filter("empty", nothing, specs.LinuxSeccomp{DefaultAction: specs.ActAllow}),
		filter("nnp", ptrTrue, specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86}, Syscalls: refuse}),
		filter("no nnp", func(s *specs.Spec) { s.Process.NoNewPrivileges = false }, specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: refuse}),
		filter("personality", nothing, specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"ioprio_get"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}}}}}),
		failing(filter("unknown action", nothing, specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_NOSUCH"})),
	}
}

func networkFeatures() []feature {
	return []feature{
		withoutNS("network"), withoutNS("ipc"), joined("network", "net"), joined("ipc", "ipc"),
	}
}

func withoutNS(kind string) feature {
	return plain("ns-"+kind, func(s *specs.Spec) { dropNS(s, kind) })
}

func dropNS(s *specs.Spec, kind string) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return string(n.Type) == kind })
}

func joined(kind, file string) feature {
	return feature{word: "join=" + kind, edit: func(s *specs.Spec, x *run) error {
		dropNS(s, kind)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(kind), Path: x.heldNS(file)})
		return nil
	}}
}

func nameFeatures() []feature {
	return []feature{
		plain("hostname", func(s *specs.Spec) { s.Hostname = "some.host" }),
		plain("ns-uts", func(s *specs.Spec) { dropNS(s, "uts") }),
		failing(plain("hostname without uts", func(s *specs.Spec) { dropNS(s, "uts"); s.Hostname = "x" })),
		joined("uts", "uts"),
	}
}

func pidFeatures() []feature { return []feature{withoutNS("pid"), joined("pid", "pid")} }

func cgroupFeatures() []feature {
	return []feature{
		plain("cgroupns", func(s *specs.Spec) {
			dropNS(s, "cgroup")
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
		}),
		plain("ns-cgroup", func(s *specs.Spec) { dropNS(s, "cgroup") }),
		plain("resources", func(s *specs.Spec) {
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: ptr[int64](256 << 20)}
			s.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr[int64](100)}
			s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: ptr[uint64](512), Cpus: "0"}
		}),
	}
}

func sysctlFeatures() []feature {
	sysctl := func(word string, m map[string]string) feature {
		return plain("sysctl="+word, func(s *specs.Spec) { s.Linux.Sysctl = m })
	}
	return []feature{
		sysctl("net", map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 1000"}),
		sysctl("ipc", map[string]string{"kernel.msgmax": "4096", "fs.mqueue.msg_max": "20"}),
		sysctl("slashes", map[string]string{"net/ipv4/ip_forward": "1"}),
		failing(sysctl("unknown", map[string]string{"net.ipv4.nosuch": "1"})),
		failing(sysctl("host", map[string]string{"kernel.pid_max": "5000"})),
	}
}

func maskFeatures() []feature {
	return []feature{
		{word: "masked=default", edit: func(s *specs.Spec, x *run) error { s.Linux.MaskedPaths = x.masked; return nil }},
		plain("masked=more", func(s *specs.Spec) {
			s.Linux.MaskedPaths = []string{"/secret", "/hidden", "/absent", "/proc/keys", "/proc/scsi"}
		}),
		failing(plain("masked below file", func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/secret/below"} })),
		plain("readonly=none", func(s *specs.Spec) { s.Linux.ReadonlyPaths = nil }),
		plain("readonly=more", func(s *specs.Spec) {
			s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/hidden", "/public", "/absent")
		}),
		plain("readonly and masked", func(s *specs.Spec) {
			s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = []string{"/hidden"}, []string{"/hidden", "/tmp"}
		}),
	}
}

func rootFeatures() []feature {
	propagation := func(word string) feature {
		return plain("rootfs="+word, func(s *specs.Spec) { s.Linux.RootfsPropagation = word })
	}
	return []feature{
		plain("root=ro", func(s *specs.Spec) { s.Root.Readonly = true }),
		propagation("private"), propagation("rprivate"), propagation("slave"), propagation("rslave"),
		propagation("shared"), propagation("rshared"), failing(propagation("unbindable")), failing(propagation("nosuch")),
	}
}

func schedulingFeatures() []feature {
	return []feature{
		plain("scheduler=batch", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5} }),
		failing(plain("scheduler=fifo", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 3} })),
		plain("ioprio", func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		}),
		plain("personality", func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32} }),
		plain("domainname", func(s *specs.Spec) { s.Domainname = "some.domain" }),
	}
}

func userNamespaceFeatures() []feature {
	maps := func(word string, m ...specs.LinuxIDMapping) feature {
		return feature{word: "userns=" + word, edit: func(s *specs.Spec, x *run) error {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings, s.Linux.GIDMappings = m, m
			x.owner = int(m[0].HostID)
			return nil
		}}
	}
	return []feature{
		maps("range", specs.LinuxIDMapping{ContainerID: 0, HostID: 100000, Size: 65536}),
		failing(maps("one", specs.LinuxIDMapping{ContainerID: 0, HostID: 100000, Size: 1})),
		maps("identity", specs.LinuxIDMapping{ContainerID: 0, HostID: 0, Size: 1 << 31}),
		maps("two", specs.LinuxIDMapping{ContainerID: 0, HostID: 100000, Size: 1000}, specs.LinuxIDMapping{ContainerID: 1000, HostID: 200000, Size: 10000}),
		failing(plain("timens", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 100}, "boottime": {Secs: 200, Nanosecs: 5}}
		})),
	}
}
