// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

func TestUsers(t *testing.T) {
	tell(t, ours, story{"Features", offered, ""},
		story{"Pod", userPod, ""},
		story{"HostNetwork", userHostNetwork, ""})
}

// offered: the kubelet is told that the handler has what these stories use.
func offered(t *testing.T, n *node) {
	got, err := n.runtime.Status(n.Context(t), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range got.RuntimeHandlers {
		if strings.HasPrefix(h.Name, "foundry") && !(h.Features.GetUserNamespaces() && h.Features.GetRecursiveReadOnlyMounts()) {
			t.Errorf("handler %q: got %v, want both", h.Name, h.Features)
		}
	}
}

const firstUID, uids = 1000000, 65536

// ownUsers is a pod with hostUsers: false.
func ownUsers(c *runtimeapi.PodSandboxConfig) {
	m := []*runtimeapi.IDMapping{{HostId: firstUID, ContainerId: 0, Length: uids}}
	c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{
		Mode: runtimeapi.NamespaceMode_POD, Uids: m, Gids: m}
}

func idMapped(container, host string) *runtimeapi.Mount {
	m := []*runtimeapi.IDMapping{{HostId: firstUID, ContainerId: 0, Length: uids}}
	return &runtimeapi.Mount{ContainerPath: container, HostPath: host, UidMappings: m, GidMappings: m}
}

// userPod: root inside is nobody in particular outside, and volumes have the
// owners that they have on the node.
func userPod(t *testing.T, n *node) {
	dir := t.TempDir()
	p := n.pod(t, ownUsers)
	c := p.sleeper(t, mounts(idMapped("/vol", dir), &runtimeapi.Mount{ContainerPath: "/raw", HostPath: dir}))
	c.expect(t, "id -u; cat /proc/self/uid_map | tr -s ' '", fmt.Sprintf("0\n 0 %d %d", firstUID, uids))
	c.expect(t, "stat -c %u:%g /bin/busybox /vol /raw /proc/1", "0:0\n0:0\n65534:65534\n0:0")
	c.expect(t, "touch /vol/mine /mine && stat -c %u /vol/mine /mine", "0\n0")
	var st syscall.Stat_t
	if err := syscall.Stat(dir+"/mine", &st); err != nil || st.Uid != 0 {
		t.Errorf("owner of the volume's file on the node: got %d, %v; want 0", st.Uid, err)
	}
	c.expect(t, "touch /raw/x 2>&1; mount -t tmpfs none /tmp 2>&1; hostname other 2>&1; true",
		"touch: /raw/x: Permission denied\nmount: permission denied (are you root?)\nhostname: sethostname: Operation not permitted")
	c.expect(t, "ping -c 1 -w 5 "+gateway+" >/dev/null && echo answered", "answered")
	if host := hostUIDs(t, c); host != fmt.Sprint(firstUID) {
		t.Errorf("user of process 1 on the node: got %s, want %d", host, firstUID)
	}
	u := p.sleeper(t, security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.RunAsUser = user(1000) }))
	u.expect(t, "id -u; touch /tmp/x && stat -c %u /tmp/x; touch /x 2>&1; true", "1000\n1000\ntouch: /x: Permission denied")
	for _, ns := range []string{"user", "net", "ipc"} {
		u.expect(t, "readlink /proc/self/ns/"+ns, c.sh(t, "readlink /proc/self/ns/"+ns))
	}
	if p2 := n.pod(t, ownUsers).sleeper(t, nil); p2.sh(t, "readlink /proc/self/ns/user") == c.sh(t, "readlink /proc/self/ns/user") {
		t.Error("two pods are in one user namespace")
	}
}

// hostUIDs is the user, seen from here, of the container's process 1.
func hostUIDs(t *testing.T, c *container) string {
	t.Helper()
	got, err := c.runtime.ContainerStatus(c.Context(t), c.id, true)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(got.Info["info"], `"pid":`)
	pid, _, _ := strings.Cut(rest, ",")
	b, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Uid:" {
			return f[1]
		}
	}
	return "unknown"
}

// userHostNetwork: with the node's network, which the pod may not configure.
func userHostNetwork(t *testing.T, n *node) {
	p := n.pod(t, ownUsers, func(c *runtimeapi.PodSandboxConfig) {
		c.Hostname = ""
		c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
	})
	c := p.sleeper(t, security(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"NET_ADMIN"}}
	}))
	c.expect(t, "ip link set lo mtu 9000 2>&1; true", "ip: SIOCSIFMTU: Operation not permitted")
	env.Eventually(t, "it still runs", func() bool { return c.status(t).State == runtimeapi.ContainerState_CONTAINER_RUNNING })
}
