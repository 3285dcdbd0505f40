// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

func TestSeccompNotify(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"OwnAgent", ownAgent},
		{"AgentElsewhere", agentElsewhere},
		{"NobodyToAsk", nobodyToAsk},
	} {
		s.run(t, d)
	}
}

// asks has an agent asked for making directories; listener is its socket.
func asks(listener, annotation string) oci.SpecOpts {
	return change(func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: listener,
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}}}
		if annotation != "" {
			s.Annotations = map[string]string{"foundry.seccomp.agent": annotation}
		}
	})
}

const refusedDir = "mkdir: can't create directory '/tmp/a': Operation not permitted\n"

// Two containers, with different wishes, have their answers from the server,
// which logs them.
func ownAgent(t *testing.T, d *env.Daemon) {
	const try = "mkdir /tmp/a && rmdir /tmp/a; echo $?; exec sleep 100000"
	for annotation, want := range map[string]string{"deny": "1\n", "log": "0\n"} {
		task := d.StartTask(t, d.Container(t, script(try, asks("", annotation))))
		env.Eventually(t, "the code", func() bool { return strings.HasSuffix(task.Stdout.String(), "\n") })
		if got := task.Stdout.String(); got != want {
			t.Errorf("%s: init: got %q, %q, want %q", annotation, got, task.Stderr.String(), want)
		}
		if r := d.Exec(t, task, "/bin/mkdir", "/tmp/a"); want == "1\n" && r.Stderr != refusedDir || want == "0\n" && r.Code() != 0 {
			t.Errorf("%s: exec: got %d, %q", annotation, r.Code(), r.Stderr)
		}
		log := d.Servers()[0].Log()
		if !strings.Contains(log, "namespace="+d.Namespace+" id="+task.ID()+" call=mkdir pid=") {
			t.Errorf("%s: nothing in the log:\n%s", annotation, log)
		}
	}
}

// A profile's own agent gets the listener and the container's state.
func agentElsewhere(t *testing.T, d *env.Daemon) {
	path := filepath.Join(d.Dir, "agent.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	task := d.Create(t, d.Container(t, script("exec sleep 100000", asks(path, ""))), nil)
	if err := task.Start(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text, oob := make([]byte, 64<<10), make([]byte, 64)
	n, m, _, _, err := conn.ReadMsgUnix(text, oob)
	if err != nil {
		t.Fatal(err)
	}
	var got specs.ContainerProcessState
	if err := json.Unmarshal(text[:n], &got); err != nil {
		t.Fatal(err)
	}
	if got.Pid != int(task.Pid()) || got.State.ID != task.ID() || len(got.Fds) != 1 || got.Fds[0] != specs.SeccompFdName {
		t.Errorf("got %+v", got)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil || len(messages) != 1 {
		t.Fatalf("got %v, %v", messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("got %v, %v", fds, err)
	}
	if link := env.FDLinks(os.Getpid())[strconv.Itoa(fds[0])]; !strings.Contains(link, "seccomp notify") {
		t.Errorf("the descriptor is %q", link)
	}
	if err := unix.Close(fds[0]); err != nil {
		t.Error(err)
	}
}

// Create fails, and names who is missing.
func nobodyToAsk(t *testing.T, d *env.Daemon) {
	for listener, want := range map[string]string{
		"":           "linux.seccomp.listenerPath: missing",
		"/no/socket": "seccomp agent /no/socket: no such file or directory",
	} {
		_, err := d.Container(t, env.ContainerConfig{Opts: []oci.SpecOpts{asks(listener, "")}}).NewTask(d.Context(t), nullIO)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
