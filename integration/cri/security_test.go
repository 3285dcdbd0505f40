// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"os"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSecurity(t *testing.T) {
	tell(t, all, story{"Context", securityContext, ""},
		story{"Seccomp", seccompProfiles, ""},
		story{"Privileged", privileged, ""},
		story{"Sysctls", sysctls, ""},
		story{"Devices", devices, "a device is bound there, by the path that it has on the node"})
}

func user(id int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: id} }

// Each row is one container, and what it sees of itself.
var contexts = []struct {
	name         string
	change       func(*runtimeapi.LinuxContainerSecurityContext)
	script, want string
}{
	{"defaults", func(*runtimeapi.LinuxContainerSecurityContext) {},
		"id -u; id -g; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'",
		"0\n0\nCapEff:00000000a80425fb\nNoNewPrivs:0\nSeccomp:0"},
	{"user and group", func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.RunAsUser, s.RunAsGroup, s.SupplementalGroups = user(1000), user(2000), []int64{3000, 3001}
	}, "id -u; id -g; id -G; grep CapEff /proc/self/status | tr -d '\\t'", "1000\n2000\n2000 1001 3000 3001\nCapEff:0000000000000000"},
	{"strict groups", func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.RunAsUser, s.SupplementalGroups = user(1000), []int64{3000}
		s.SupplementalGroupsPolicy = runtimeapi.SupplementalGroupsPolicy_Strict
	}, "id -g; id -G", "1000\n1000 3000"},
	{"user by name", func(s *runtimeapi.LinuxContainerSecurityContext) { s.RunAsUsername = "user" }, "id -un; id -G", "user\n1000 1001"},
	{"capabilities added", func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"NET_ADMIN", "SYS_PTRACE"}}
	}, "grep CapEff /proc/self/status | tr -d '\\t'; ip link set lo mtu 9000 && echo set", "CapEff:00000000a80c35fb\nset"},
	{"capabilities dropped", func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"CHOWN"}}
	}, "grep Cap /proc/self/status | tr -d '\\t' | tr '\\n' ' '", "CapInh:0000000000000000 CapPrm:0000000000000001 " +
		"CapEff:0000000000000001 CapBnd:0000000000000001 CapAmb:0000000000000000"},
	{"no new privileges", func(s *runtimeapi.LinuxContainerSecurityContext) { s.NoNewPrivs = true },
		"grep NoNewPrivs /proc/self/status | tr -d '\\t'", "NoNewPrivs:1"},
	{"read-only root", func(s *runtimeapi.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true },
		"touch /x 2>&1; touch /dev/shm/x && echo shm", "touch: /x: Read-only file system\nshm"},
	{"masked", func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.MaskedPaths = []string{"/proc/sys/kernel", "/etc/group", "/nowhere"}
	}, "ls /proc/sys/kernel; cat /etc/group; ls -d /nowhere 2>&1", "ls: /nowhere: No such file or directory"},
	{"read-only paths", func(s *runtimeapi.LinuxContainerSecurityContext) { s.ReadonlyPaths = []string{"/tmp", "/nowhere"} },
		"touch /tmp/x 2>&1; touch /x && echo x", "touch: /tmp/x: Read-only file system\nx"},
}

func securityContext(t *testing.T, n *node) {
	p := n.pod(t)
	for _, tt := range contexts {
		c, err := p.tryRun(n.Context(t), security(tt.change), "/bin/sleep", "1000000000")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		// busybox's ls and id end with an error when a name is not there
		r := c.exec(t, "/bin/sh", "-c", "("+tt.script+") || true")
		if got := trim(r.stdout); got != tt.want {
			t.Errorf("%s: got %q, want %q; stderr %q", tt.name, got, tt.want, r.stderr)
		}
	}
}

const denyMkdir = `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
	"syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}`

func seccompProfiles(t *testing.T, n *node) {
	file := n.path("deny-mkdir.json")
	if err := os.WriteFile(file, []byte(denyMkdir), 0o600); err != nil {
		t.Fatal(err)
	}
	p := n.pod(t, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	})
	for _, tt := range []struct {
		profile      *runtimeapi.SecurityProfile
		script, want string
	}{
		{&runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined},
			"grep Seccomp: /proc/self/status | tr -d '\\t'", "Seccomp:0"},
		{&runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
			"grep Seccomp: /proc/self/status | tr -d '\\t'; unshare -U true 2>&1", "Seccomp:2\nunshare: unshare(0x10000000): Operation not permitted"},
		{&runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: file},
			"mkdir /tmp/x 2>&1; touch /tmp/y && echo y", "mkdir: can't create directory '/tmp/x': File descriptor in bad state\ny"},
	} {
		c := p.sleeper(t, security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.Seccomp = tt.profile }))
		if got := trim(c.exec(t, "/bin/sh", "-c", tt.script).stdout); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.profile, got, tt.want)
		}
	}
}

func privileged(t *testing.T, n *node) {
	p := n.pod(t, func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	c := p.sleeper(t, security(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.Privileged, s.MaskedPaths, s.ReadonlyPaths = true, nil, nil
	}))
	c.expect(t, "mkdir /tmp/m && mount -t tmpfs none /tmp/m && echo mounted", "mounted")
	c.expect(t, "ls -l /dev/mem /dev/fuse 2>/dev/null | wc -l", hostDevices("/dev/mem", "/dev/fuse"))
	c.expect(t, "sysctl -w net.ipv4.ip_forward=1", "net.ipv4.ip_forward = 1")
}

// hostDevices counts those that are there, as text.
func hostDevices(paths ...string) string {
	found := 0
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			found++
		}
	}
	return string(rune('0' + found))
}

func sysctls(t *testing.T, n *node) {
	c := n.pod(t, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.ipv4.ip_local_port_range": "20000 30000", "kernel.shm_rmid_forced": "1"}
	}).sleeper(t, nil)
	c.expect(t, "cat /proc/sys/net/ipv4/ip_local_port_range | tr '\\t' ' '; cat /proc/sys/kernel/shm_rmid_forced", "20000 30000\n1")
	c.expect(t, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0") // containerd's default
}

func devices(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, func(c *runtimeapi.ContainerConfig) {
		c.Devices = []*runtimeapi.Device{
			{ContainerPath: "/dev/mine", HostPath: "/dev/zero", Permissions: "rwm"},
			{ContainerPath: "/dev/reader", HostPath: "/dev/kmsg", Permissions: "r"},
		}
	})
	c.expect(t, "head -c 3 /dev/mine | wc -c; echo x > /dev/mine && echo written", "3\nwritten")
	c.expect(t, "(echo x > /dev/reader) 2>&1; true", "/bin/sh: can't create /dev/reader: Operation not permitted")
}
