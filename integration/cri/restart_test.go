// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"fmt"
	"os"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

// With runc v2, what ended while containerd was away has the code 255 and the
// reason Unknown, so this is told for Foundry alone.
func TestRestart(t *testing.T) {
	tell(t, ours, story{"Restart", restart, ""})
}

// restart: pods go on while containerd is away. Output of that time is in the
// log, and who ended then has ended with its own code.
func restart(t *testing.T, n *node) {
	dir := t.TempDir()
	p, shared := n.pod(t), n.pod(t, sharing(&runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_POD}))
	until := func(file, end string) string {
		return fmt.Sprintf("echo before; while [ ! -e /vol/%s ]; do usleep 5000; done; echo during; echo x > /vol/%[1]s.seen; %s", file, end)
	}
	volume := mounts(&runtimeapi.Mount{ContainerPath: "/vol", HostPath: dir})
	stays := p.run(t, volume, "/bin/sh", "-c", until("say", "while [ ! -e /vol/after ]; do usleep 5000; done; echo after; exec sleep 1000000"))
	ends := p.run(t, volume, "/bin/sh", "-c", until("end", "exit 7"))
	killed := shared.run(t, volume, "/bin/sh", "-c", until("kill", "kill -KILL $$"))
	killed.sh(t, "true")
	n.disconnect()
	n.Stop(t)
	for _, name := range []string{"say", "end", "kill"} {
		touch(t, dir+"/"+name)
		env.Eventually(t, name+" is seen", func() bool { _, err := os.Stat(dir + "/" + name + ".seen"); return err == nil })
	}
	n.Start(t)
	n.connect(t)
	if s := ends.ended(t); s.ExitCode != 7 || s.Reason != "Error" {
		t.Errorf("ended while containerd was away: got %d, %q; want 7, Error", s.ExitCode, s.Reason)
	}
	if s := killed.ended(t); s.ExitCode != 137 {
		t.Errorf("killed while containerd was away: got %d, want 137", s.ExitCode)
	}
	stays.expect(t, "echo exec", "exec")
	touch(t, dir+"/after")
	env.Eventually(t, "the log goes on", func() bool { return strings.HasSuffix(stays.log(t), "after\n") })
	if got, want := stays.log(t), "stdout before\nstdout during\nstdout after\n"; got != want {
		t.Errorf("log: got %q, want %q", got, want)
	}
	for _, q := range []*pod{p, shared} {
		got, err := n.runtime.PodSandboxStatus(n.Context(t), q.id, false)
		if err != nil || got.Status.State != runtimeapi.PodSandboxState_SANDBOX_READY {
			t.Errorf("pod after the restart: got %v, %v", got, err)
		}
		q.sleeper(t, nil).expect(t, "hostname", q.config.Hostname)
	}
	if err := n.runtime.StopContainer(n.Context(t), stays.id, 0); err != nil {
		t.Errorf("stop: %v", err)
	}
	if s := stays.ended(t); s.ExitCode != 137 {
		t.Errorf("stopped: got %d, want 137", s.ExitCode)
	}
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
