// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPod(t *testing.T) {
	tell(t, all, story{"TwoContainers", twoContainers, ""},
		story{"Exec", execCodes, ""},
		story{"ExecTimeout", execTimeout, ""})
}

// Two containers of a pod share network, ipc and host name, and nothing else.
func twoContainers(t *testing.T, n *node) {
	p := n.pod(t)
	a, b := p.sleeper(t, nil), p.sleeper(t, nil)
	a.expect(t, "hostname", p.config.Hostname)
	for _, ns := range []string{"net", "ipc", "uts"} {
		a.expect(t, "readlink /proc/self/ns/"+ns, b.sh(t, "readlink /proc/self/ns/"+ns))
	}
	for _, ns := range []string{"pid", "mnt"} {
		if link := "readlink /proc/self/ns/" + ns; a.sh(t, link) == b.sh(t, link) {
			t.Errorf("both containers are in one %s namespace", ns)
		}
	}
	a.expect(t, "echo shared > /dev/shm/x; echo mine > /tmp/x; cat /dev/shm/x", "shared")
	b.expect(t, "cat /dev/shm/x; ls /tmp", "shared")
	p2 := n.pod(t)
	p2.sleeper(t, nil).expect(t, "ls /dev/shm", "")
	got, err := n.runtime.ListContainers(n.Context(t), &runtimeapi.ContainerFilter{PodSandboxId: p.id})
	if err != nil || len(got) != 2 {
		t.Errorf("containers of the pod: got %d, %v; want 2", len(got), err)
	}
	status, err := n.runtime.PodSandboxStatus(n.Context(t), p.id, false)
	if err != nil {
		t.Fatal(err)
	}
	a.expect(t, "ip -4 -o addr show dev eth0 | awk '{print $4}'", status.Status.Network.Ip+"/16")
}

func execCodes(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, nil)
	for script, want := range map[string]result{
		"exit 0":                       {},
		"exit 7":                       {code: 7},
		"echo out; echo err >&2":       {stdout: "out\n", stderr: "err\n"},
		"printf half; exit 3":          {stdout: "half", code: 3},
		"kill -KILL $$":                {code: 137},
		"kill -TERM $$":                {code: 143},
		"seq 100000 | tail -n 1; exit": {stdout: "100000\n"},
	} {
		if got := c.exec(t, "/bin/sh", "-c", script); got != want {
			t.Errorf("%s: got %+v, want %+v", script, got, want)
		}
	}
	if got, want := c.exec(t, "/bin/seq", "200000").stdout, 1288895; len(got) != want {
		t.Errorf("much output: got %d bytes, want %d", len(got), want)
	}
	if _, err := c.tryExec(c.Context(t), 0, "/bin/nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("exec of what is not there: got %v", err)
	}
}

// A probe that hangs is killed, and leaves nothing behind.
func execTimeout(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, nil)
	c.sh(t, "true")
	before := n.Footprint(t)
	for range 3 {
		begin := time.Now()
		_, err := c.tryExec(c.Context(t), time.Second, "/bin/sh", "-c", "echo begun; exec sleep 100000")
		if err == nil || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("exec of what hangs: got %v, want a timeout", err)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("a timeout of 1 s took %v", took)
		}
	}
	c.expect(t, "pidof sleep", "1")
	n.CheckFootprint(t, before)
}
