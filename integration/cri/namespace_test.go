// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"os"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

func TestNamespaces(t *testing.T) {
	tell(t, all, story{"Host", hostNamespaces, "the kernel mounts no /proc of a pid namespace of others"},
		story{"SharedPid", sharedPid, ""},
		story{"TargetPid", targetPid, ""})
}

// sharing is a pod with these.
func sharing(o *runtimeapi.NamespaceOption) func(*runtimeapi.PodSandboxConfig) {
	return func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.NamespaceOptions = o }
}

func hostNamespaces(t *testing.T, n *node) {
	const node = runtimeapi.NamespaceMode_NODE
	for _, tt := range []struct {
		name   string
		option *runtimeapi.NamespaceOption
		host   string // what is the node's
	}{
		{"network", &runtimeapi.NamespaceOption{Network: node, Pid: runtimeapi.NamespaceMode_CONTAINER}, "net uts"},
		{"pid", &runtimeapi.NamespaceOption{Pid: node}, "pid"},
		{"ipc", &runtimeapi.NamespaceOption{Ipc: node, Pid: runtimeapi.NamespaceMode_CONTAINER}, "ipc"},
		{"all", &runtimeapi.NamespaceOption{Network: node, Pid: node, Ipc: node}, "net uts pid ipc"},
	} {
		c := n.pod(t, sharing(tt.option), func(c *runtimeapi.PodSandboxConfig) {
			if strings.Contains(tt.host, "uts") {
				c.Hostname = "" // is the node's
			}
		}).sleeper(t, nil)
		for _, ns := range []string{"net", "uts", "pid", "ipc", "mnt"} {
			own, err := os.Readlink("/proc/self/ns/" + ns)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := c.sh(t, "readlink /proc/self/ns/"+ns) == own, strings.Contains(tt.host, ns); got != want {
				t.Errorf("host %s: in the node's %s namespace: got %v, want %v", tt.name, ns, got, want)
			}
		}
	}
}

// sharedPid: the containers of the pod see each other and the pause process,
// which inherits their orphans; each is stopped alone.
func sharedPid(t *testing.T, n *node) {
	p := n.pod(t, sharing(&runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_POD}))
	a, b := p.sleeper(t, nil), p.sleeper(t, nil)
	c := p.run(t, nil, "/bin/sh", "-c", "sleep 100001 & sleep 100002")
	a.expect(t, "cat /proc/1/cmdline | tr '\\0' ' '", "/bin/sleep 1000000000")
	env.Eventually(t, "all are seen", func() bool { return a.sh(t, "pidof sleep | wc -w") == "5" })
	if err := n.runtime.StopContainer(n.Context(t), c.id, 0); err != nil {
		t.Fatal(err)
	}
	// what the container started is gone with it, the others are not
	env.Eventually(t, "its processes end", func() bool {
		return b.sh(t, "grep -l ^State:.[RS] $(printf '/proc/%s/status ' $(pidof sleep)) | wc -l") == "3"
	})
	if a.status(t).State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Error("another container was stopped as well")
	}
}

// targetPid: a container to look into another one.
func targetPid(t *testing.T, n *node) {
	p := n.pod(t)
	a := p.run(t, nil, "/bin/sleep", "100003")
	b := p.sleeper(t, security(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: a.id,
			UsernsOptions: p.config.Linux.SecurityContext.NamespaceOptions.UsernsOptions}
	}))
	b.expect(t, "cat /proc/1/cmdline | tr '\\0' ' '", "/bin/sleep 100003")
	b.expect(t, "readlink /proc/self/ns/pid", a.sh(t, "readlink /proc/self/ns/pid"))
}
