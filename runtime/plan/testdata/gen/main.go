// SPDX-License-Identifier: Apache-2.0

// Command gen writes the specs in testdata, with the functions of containerd
// by which ctr and nerdctl make theirs and in their order. The files are
// committed: what they hold depends on the host (capabilities, devices) and on
// containerd's version. Run it in this directory: go run . ..
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gen DIRECTORY")
	}
	for name, opts := range cases() {
		if err := write(filepath.Join(os.Args[1], name+".json"), opts); err != nil {
			log.Fatal(err)
		}
	}
}

func write(path string, opts []oci.SpecOpts) error {
	ctx := namespaces.WithNamespace(context.Background(), "default")
	c := &containers.Container{ID: "web"}
	spec, err := oci.GenerateSpec(ctx, nil, c, opts...)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func cases() map[string][]oci.SpecOpts {
	return map[string][]oci.SpecOpts{
		"ctr":     ctr(),
		"ctr-tty": ctr(oci.WithTTY),
		"ctr-net-host": ctr(oci.WithHostNamespace(specs.NetworkNamespace), oci.WithHostHostsFile, oci.WithHostResolvconf,
			oci.WithEnv([]string{"HOSTNAME=host"})),
		"ctr-privileged": ctr(oci.WithPrivileged, oci.WithAllDevicesAllowed, hostDevices),
		"ctr-seccomp":    ctr(seccomp.WithDefaultProfile()),
		"ctr-read-only-cwd": ctr(oci.WithRootFSReadonly(), oci.WithProcessCwd("/srv/data"), oci.WithMounts([]specs.Mount{
			{Type: "bind", Source: "/srv/web", Destination: "/srv/data", Options: []string{"rbind", "ro"}},
		})),
		"ctr-with-ns": ctr(
			oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/run/netns/pod"}),
			oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.PIDNamespace, Path: "/proc/42/ns/pid"}),
			oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.IPCNamespace, Path: "/proc/42/ns/ipc"}),
			oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.UTSNamespace, Path: "/proc/42/ns/uts"}),
		),
		"nerdctl":             nerdctl(nil),
		"nerdctl-it":          nerdctl(nil, oci.WithTTY, consoleSize(40, 120)),
		"nerdctl-read-only":   nerdctl(nil, oci.WithRootFSReadonly()),
		"nerdctl-cap-drop":    nerdctl([]oci.SpecOpts{oci.WithDroppedCapabilities([]string{"CAP_CHOWN", "CAP_NET_RAW"})}),
		"nerdctl-user":        nerdctl(nil, oci.WithUIDGID(1000, 1000), additionalGids(1000, 10, 20), umask(0o27)),
		"nerdctl-device":      nerdctl([]oci.SpecOpts{device}),
		"nerdctl-sysctl":      nerdctl([]oci.SpecOpts{sysctl("net.ipv4.conf.eth0/1.forwarding", "1"), sysctl("kernel.shmmax", "1073741824")}),
		"nerdctl-nnp":         nerdctl(nil, oci.WithNoNewPrivileges),
		"nerdctl-privileged":  nerdctl([]oci.SpecOpts{oci.WithPrivileged, oci.WithAllDevicesAllowed, hostDevices, oci.WithNewPrivileges}),
		"nerdctl-cgroup-host": nerdctl(nil, oci.WithHostNamespace(specs.CgroupNamespace)),
		"nerdctl-volumes": nerdctl(nil, oci.WithMounts([]specs.Mount{
			{Type: "bind", Source: "/srv/a", Destination: "/a", Options: []string{"rprivate", "rbind"}},
			{Type: "bind", Source: "/srv/b", Destination: "/b", Options: []string{"rro", "rprivate", "rbind"}},
			{Type: "bind", Source: "/srv/c", Destination: "/c", Options: []string{"rslave", "rbind"}},
			{Type: "tmpfs", Source: "tmpfs", Destination: "/scratch", Options: []string{"noexec", "nosuid", "nodev", "size=64m"}},
		}), func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			s.Linux.RootfsPropagation = "rslave"
			return nil
		}, reaper, oomScore(-500)),
		"nerdctl-userns": nerdctl(nil, oci.WithUserNamespace(mapped, mapped), oci.WithMounts([]specs.Mount{
			{Type: "bind", Source: "/srv/a", Destination: "/a", Options: []string{"rbind", "rprivate", "idmap"}, UIDMappings: mapped, GIDMappings: mapped},
			{Type: "bind", Source: "/srv/b", Destination: "/b", Options: []string{"rbind", "nosuid", "rro"}},
		}), timeOffsets),
		"cri-userns":     criUsers(),
		"ctr-idmap":      ctr(oci.WithMounts([]specs.Mount{{Type: "bind", Source: "/srv/a", Destination: "/a", Options: []string{"rbind", "ridmap"}, UIDMappings: mapped, GIDMappings: mapped}})),
		"ctr-scheduling": ctr(scheduling),
		"ctr-mounts": ctr(oci.WithMounts([]specs.Mount{
			{Type: "tmpfs", Source: "tmpfs", Destination: "/etc", Options: []string{"tmpcopyup", "mode=755"}},
			{Type: "erofs", Source: "/srv/x.erofs", Destination: "/x", Options: []string{"ro", "loop", "X-mount.mkdir"}},
			{Destination: "/x", Options: []string{"remount", "ro", "nosuid", "nodev"}},
		}), readonlyDev),
	}
}

var mapped = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}

// criUsers is a container of a pod with hostUsers: false: it joins what the
// pod's sandbox has, says its maps again, and has idmapped volumes.
func criUsers() []oci.SpecOpts {
	opts := []oci.SpecOpts{oci.WithUserNamespace(mapped, mapped)}
	for kind, name := range map[specs.LinuxNamespaceType]string{
		specs.UserNamespace: "user", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.PIDNamespace: "pid",
	} {
		opts = append(opts, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: kind, Path: "/proc/42/ns/" + name}))
	}
	return ctr(append(opts, oci.WithMounts([]specs.Mount{
		{Type: "bind", Source: "/var/lib/kubelet/pods/1/etc-hosts", Destination: "/etc/hosts", Options: []string{"rbind", "rprivate", "rw"}},
		{Type: "bind", Source: "/var/lib/kubelet/pods/1/volumes/v", Destination: "/v", Options: []string{"rbind", "rprivate", "ridmap"}, UIDMappings: mapped, GIDMappings: mapped},
		{Type: "bind", Source: "/var/lib/kubelet/pods/1/volumes/w", Destination: "/w", Options: []string{"rbind", "idmap"}},
		{Type: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
	}), func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.CgroupNamespace })
		return nil
	})...)
}

func readonlyDev(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == "/dev" {
			s.Mounts[i].Options = append(s.Mounts[i].Options, "ro")
		}
	}
	return nil
}

func timeOffsets(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: -5}, "boottime": {Secs: 86400, Nanosecs: 1}}
	return nil
}

func scheduling(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
	s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
	s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0-1"}
	s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
	return nil
}

// ctr is what "ctr run" makes of an image that sets nothing but PATH.
func ctr(opts ...oci.SpecOpts) []oci.SpecOpts {
	base := []oci.SpecOpts{oci.WithDefaultSpec(), oci.WithDefaultUnixDevices, oci.WithDefaultPathEnv, oci.WithProcessArgs("/bin/sh")}
	return append(append(base, opts...), oci.WithCPUShares(1024))
}

// nerdctl is what "nerdctl run" makes on a host with a bridge network: early
// come the options that it applies to the platform, late those after the
// mounts and the network.
func nerdctl(early []oci.SpecOpts, late ...oci.SpecOpts) []oci.SpecOpts {
	const state = "/var/lib/nerdctl/1935db59/containers/default/web"
	opts := []oci.SpecOpts{
		oci.WithDefaultSpec(), oci.WithDefaultUnixDevices, oci.WithoutRunMount,
		oci.WithMounts([]specs.Mount{{Type: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}}}),
		oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.CgroupNamespace}),
		seccomp.WithDefaultProfile(), oci.WithNewPrivileges,
	}
	opts = append(opts, early...)
	opts = append(opts,
		func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			s.Process.Rlimits = nil
			return nil
		},
		oci.WithDefaultPathEnv, oci.WithProcessArgs("/bin/sh"),
		oci.WithMounts([]specs.Mount{
			{Type: "bind", Source: state + "/resolv.conf", Destination: "/etc/resolv.conf", Options: []string{"bind", "rprivate"}},
			{Type: "bind", Source: "/var/lib/nerdctl/1935db59/etchosts/default/web/hosts", Destination: "/etc/hosts", Options: []string{"bind", "rprivate"}},
			{Type: "bind", Source: state + "/hostname", Destination: "/etc/hostname", Options: []string{"bind", "rprivate"}},
		}),
		oci.WithHostname("web"), oci.WithEnv([]string{"HOSTNAME=web"}), hooks,
		sysctl("net.ipv4.ip_unprivileged_port_start", "0"),
		oci.WithAnnotations(map[string]string{"nerdctl/namespace": "default", "nerdctl/state-dir": state}),
	)
	return append(opts, late...)
}

func hooks(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	env := []string{"PATH=/usr/bin:/usr/sbin:/sbin"}
	hook := func(event string) []specs.Hook {
		return []specs.Hook{{Path: "/usr/local/bin/nerdctl", Args: []string{"/usr/local/bin/nerdctl", "internal", "oci-hook", event}, Env: env}}
	}
	s.Hooks = &specs.Hooks{CreateRuntime: hook("createRuntime"), Poststop: hook("postStop")}
	return nil
}

// hostDevices stands for oci.WithHostDevices, with a host of three devices.
func hostDevices(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	mode := os.FileMode(0o660)
	zero, disk := uint32(0), uint32(6)
	s.Linux.Devices = append(s.Linux.Devices,
		specs.LinuxDevice{Path: "/dev/vda", Type: "b", Major: 254, Minor: 0, FileMode: &mode, UID: &zero, GID: &disk},
		specs.LinuxDevice{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &zero, GID: &zero},
		specs.LinuxDevice{Path: "/dev/ptmx", Type: "c", Major: 5, Minor: 2, FileMode: &mode, UID: &zero, GID: &zero},
	)
	return nil
}

// device stands for oci.WithDevices, which reads the host's node.
func device(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	mode := os.FileMode(0o620)
	uid, gid := uint32(0), uint32(1000)
	s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: "/dev/xfuse", Type: "c", Major: 10, Minor: 229, FileMode: &mode, UID: &uid, GID: &gid})
	return nil
}

func sysctl(name, value string) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		if s.Linux.Sysctl == nil {
			s.Linux.Sysctl = make(map[string]string)
		}
		s.Linux.Sysctl[name] = value
		return nil
	}
}

func consoleSize(rows, cols uint) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Process.ConsoleSize = &specs.Box{Height: rows, Width: cols}
		return nil
	}
}

func additionalGids(gids ...uint32) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Process.User.AdditionalGids = gids
		return nil
	}
}

func umask(mask uint32) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Process.User.Umask = &mask
		return nil
	}
}

func oomScore(score int) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Process.OOMScoreAdj = &score
		return nil
	}
}

func reaper(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Annotations["foundry.init"] = "true"
	return nil
}
