// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/runtime/oci"
)

// asking is a spec whose profile asks an agent for making directories.
func (w *world) asking(id string, args ...string) *specs.Spec {
	spec := w.spec(id, args...)
	spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}},
	}
	return spec
}

// One agent in the server answers for the containers that ask for it.
func TestOwnAgent(t *testing.T) {
	for _, tt := range []struct{ mode, said, want string }{
		{"deny", "denied", "mkdir: can't create directory '/run/a': Operation not permitted\n"},
		{"log", "allowed", ""},
	} {
		for _, privileged := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.mode, privileged), func(t *testing.T) {
				log := newSink(t)
				w := newWorldWith(t, Config{Log: slog.New(slog.NewTextHandler(log, nil))})
				var boxes []*box
				for _, id := range []string{"one", "two"} {
					spec := w.asking(id, "sh", "-c", "mkdir /run/a; exec sleep 60")
					spec.Annotations = map[string]string{oci.AgentAnnotation: tt.mode}
					spec.Process.NoNewPrivileges = !privileged
					b := w.create(id, spec)
					if err := b.Start(ctx(t)); err != nil {
						t.Fatal(err)
					}
					eventually(t, "the answer", func() bool { return strings.Contains(log.soFar(), "id="+id+" call=mkdir") })
					if _, got := b.exec("mkdir", "/run/b"); got != strings.ReplaceAll(tt.want, "/run/a", "/run/b") {
						t.Errorf("exec: got %q, want %q", got, tt.want)
					}
					eventually(t, "what init says", func() bool { return b.out.soFar() == tt.want })
					boxes = append(boxes, b)
				}
				for _, b := range boxes {
					if err := b.Delete(ctx(t)); err != nil {
						t.Error(err)
					}
					b.wait()
					if got := b.out.text(); got != tt.want {
						t.Errorf("init: got %q, want %q", got, tt.want)
					}
				}
				if !strings.Contains(log.soFar(), "seccomp: "+tt.said) {
					t.Errorf("got the log %s", log.soFar())
				}
				eventually(t, "the listeners to go", func() bool {
					w.agent.mu.Lock()
					defer w.agent.mu.Unlock()
					return len(w.agent.clients) == 0
				})
			})
		}
	}
}

// A container that asks without end has its answers in turn, few lines in the
// log, and keeps nobody from theirs.
func TestAgentIsShared(t *testing.T) {
	log := newSink(t)
	w := newWorldWith(t, Config{Log: slog.New(slog.NewTextHandler(log, nil))})
	noisy := w.asking("noisy", "sh", "-c", "while :; do mkdir /run/a 2>/dev/null; done")
	noisy.Annotations = map[string]string{oci.AgentAnnotation: "deny", "foundry.sekkomp": "x"}
	quiet := w.asking("quiet", "sleep", "60")
	quiet.Annotations = map[string]string{oci.AgentAnnotation: "log"}
	for id, spec := range map[string]*specs.Spec{"noisy": noisy, "quiet": quiet} {
		if err := w.create(id, spec).Start(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "calls that are not logged", func() bool { return strings.Contains(log.soFar(), "more calls were not logged") })
	for i := range 20 {
		b := &box{t: t, Container: w.Container("test", "quiet")}
		if e, out := b.exec("mkdir", fmt.Sprint("/run/", i)); e.Status != 0 {
			t.Errorf("got %+v, %q", e, out)
		}
	}
	if n := strings.Count(log.soFar(), "id=noisy call=mkdir"); n > 10*agentLines {
		t.Errorf("%d calls are logged", n)
	}
	if !strings.Contains(log.soFar(), "annotation=foundry.sekkomp") {
		t.Error("no warning of an annotation that nobody knows")
	}
}

// helping is what an agent elsewhere does: it takes listeners and denies.
func helping(t *testing.T, path string) <-chan specs.ContainerProcessState {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan specs.ContainerProcessState, 4)
	own := &agent{log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		l.Close()
		for range said { // until the goroutine has ended
		}
		if err := own.close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		defer close(said)
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			state, file := received(t, conn)
			if err := own.watch(file, name{id: state.State.ID}, true); err != nil {
				t.Error(err)
			}
			said <- state
		}
	}()
	return said
}

func received(t *testing.T, conn *net.UnixConn) (specs.ContainerProcessState, *os.File) {
	defer conn.Close()
	text, oob := make([]byte, 64<<10), make([]byte, 64)
	n, m, _, _, err := conn.ReadMsgUnix(text, oob)
	if err != nil {
		t.Error(err)
	}
	var state specs.ContainerProcessState
	if err := json.Unmarshal(text[:n], &state); err != nil {
		t.Error(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil || len(messages) != 1 {
		t.Errorf("got %v, %v", messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Errorf("got %v, %v", fds, err)
	}
	return state, os.NewFile(uintptr(fds[0]), "listener")
}

func TestAgentElsewhere(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "agent.sock")
	states := helping(t, path)
	spec := w.asking("asked", "sh", "-c", "mkdir /tmp/a; exec sleep 60")
	spec.Linux.Seccomp.ListenerPath, spec.Linux.Seccomp.ListenerMetadata = path, "the data"
	b := w.create("asked", spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	want := specs.ContainerProcessState{Version: specs.Version, Fds: []string{"seccompFd"}, Pid: b.Pid(), Metadata: "the data",
		State: specs.State{Version: "1.3.0", ID: "asked", Status: specs.StateCreated, Pid: b.Pid(), Bundle: b.bundle}}
	if got := <-states; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("init: got %+v, want %+v", got, want)
	}
	const refused = "mkdir: can't create directory '/tmp/a': Operation not permitted\n"
	eventually(t, "the answer", func() bool { return b.out.soFar() == refused })
	if e, out := b.exec("mkdir", "/tmp/a"); out != refused || e.Status != 1 {
		t.Errorf("exec: got %+v, %q", e, out)
	}
	got := <-states
	want.Pid, want.State.Status = got.Pid, specs.StateRunning
	if fmt.Sprint(got) != fmt.Sprint(want) || got.Pid == b.Pid() {
		t.Errorf("exec: got %+v, want %+v", got, want)
	}
}

// Nobody to ask fails Create, by name.
func TestNoAgent(t *testing.T) {
	w := newWorld(t)
	dead := filepath.Join(w.dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for i, tt := range []struct{ path, annotation, want string }{
		{"", "", "linux.seccomp.listenerPath: missing, and SCMP_ACT_NOTIFY needs it, or the annotation foundry.seccomp.agent"},
		{"", "maybe", `annotations["foundry.seccomp.agent"]: "maybe" is neither log nor deny`},
		{filepath.Join(w.dir, "none.sock"), "", "none.sock: no such file or directory"},
		{dead, "deny", "dead.sock: connection refused"},
	} {
		id := fmt.Sprint("alone", i)
		spec := w.asking(id, "true")
		spec.Linux.Seccomp.ListenerPath = tt.path
		if tt.annotation != "" {
			spec.Annotations = map[string]string{oci.AgentAnnotation: tt.annotation}
		}
		if _, err := w.tryCreate(id, spec); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	if left := w.traces(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}
