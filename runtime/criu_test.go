// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"

	"foundry/runtime/oci"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// playCriu answers as criu does, by the part that FOUNDRY_TEST_CRIU names. It is the
// test binary, under another name.
func playCriu(part string) {
	file := os.NewFile(3, "socket")
	buf := make([]byte, 64<<10)
	read := func() *rpc.CriuReq {
		n, err := file.Read(buf)
		req := &rpc.CriuReq{}
		if err != nil || req.UnmarshalVT(buf[:n]) != nil {
			os.Exit(3)
		}
		return req
	}
	write := func(resp *rpc.CriuResp) {
		data, err := resp.MarshalVT()
		if err == nil {
			_, err = file.Write(data)
		}
		if err != nil {
			os.Exit(4)
		}
	}
	req := read()
	switch part {
	case "dies":
		fmt.Println("(00.001) Error (criu/x.c:1): no such thing")
		os.Exit(1)
	case "hangs":
		time.Sleep(time.Hour)
	case "refuses":
		write(&rpc.CriuResp{Type: req.GetType().Enum(), Success: proto.Bool(false), CrErrno: proto.Int32(22)})
	case "notifies":
		for _, script := range []string{"setup-namespaces", "post-restore"} {
			write(&rpc.CriuResp{
				Type: rpc.CriuReqType_NOTIFY.Enum(), Success: proto.Bool(true),
				Notify: &rpc.CriuNotify{Script: proto.String(script), Pid: proto.Int32(77)},
			})
			if answer := read(); answer.GetType() != rpc.CriuReqType_NOTIFY || !answer.GetNotifySuccess() {
				os.Exit(5)
			}
		}
		write(&rpc.CriuResp{Type: req.GetType().Enum(), Success: proto.Bool(true)})
	}
}

// fakeCriu puts a criu that plays part first on PATH.
func fakeCriu(t *testing.T, part string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "criu"), fmt.Appendf(nil, "#!/bin/sh\nFOUNDRY_TEST_CRIU=%s exec %s\n", part, self), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func (w *world) criu(part string, run criuRun) (*rpc.CriuResp, error) {
	t := w.t.(*testing.T)
	fakeCriu(t, part)
	run.start = func(ctx context.Context, h HelperConfig) (*Process, error) { return w.Helper(ctx, h) }
	c, cancel := context.WithTimeoutCause(ctx(t), 2*time.Second, errTestTime)
	defer cancel()
	if part != "hangs" {
		c = ctx(t)
	}
	return run.do(c, &rpc.CriuReq{Type: rpc.CriuReqType_RESTORE.Enum()})
}

var errTestTime = errors.New("the test's time is over")

// TestCriu: what criu says, and how it may fail to.
func TestCriu(t *testing.T) {
	w := newWorld(t)
	if _, err := w.criu("dies", criuRun{}); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("dies: got %v, want its own words", err)
	}
	if _, err := w.criu("hangs", criuRun{}); !errors.Is(err, errTestTime) {
		t.Errorf("hangs: got %v, want the cause of the context's end", err)
	}
	if _, err := w.criu("refuses", criuRun{}); err == nil || !strings.Contains(err.Error(), "criu refuses: invalid argument") {
		t.Errorf("refuses: got %v", err)
	}
	var scripts []string
	notify := func(script string, pid int) error {
		scripts = append(scripts, fmt.Sprint(script, pid))
		return nil
	}
	if _, err := w.criu("notifies", criuRun{notify: notify}); err != nil || fmt.Sprint(scripts) != "[setup-namespaces77 post-restore77]" {
		t.Errorf("notifies: got %v, %v", scripts, err)
	}
	broken := errors.New("broken")
	if _, err := w.criu("notifies", criuRun{notify: func(string, int) error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("a notification fails: got %v", err)
	}
}

// TestCheckpointable: what would not come back is refused by its path.
func TestCheckpointable(t *testing.T) {
	for _, test := range []struct {
		change func(*specs.Spec)
		want   string
	}{
		{func(*specs.Spec) {}, ""},
		{func(s *specs.Spec) { s.Process.Terminal = true }, "process.terminal"},
		{func(s *specs.Spec) {
			s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.UserNamespace}}
		}, "linux.namespaces[0].type"},
		{func(s *specs.Spec) {
			s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: "/proc/1/ns/pid"}}
		}, "linux.namespaces[0].path"},
		{func(s *specs.Spec) {
			s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: "/run/netns/x"}}
		}, ""},
	} {
		spec := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}
		test.change(spec)
		err := checkpointable(spec, true)
		var unsupported *oci.UnsupportedError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("got %v, want none", err)
		case test.want != "" && (!errors.As(err, &unsupported) || unsupported.Path != test.want):
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if err := checkpointable(&specs.Spec{}, false); !errors.Is(err, ErrUnsupported) {
		t.Errorf("cgroup v1: got %v", err)
	}
}

// TestCriuSays picks the first error of a log.
func TestCriuSays(t *testing.T) {
	log := filepath.Join(t.TempDir(), "dump.log")
	must(t, os.WriteFile(log, []byte("(00.1) fine\n(00.2) Error (a.c:1): first\n(00.3) Error (b.c:2): second\n"), 0o600))
	if got, want := criuSays(log, "x"), ": (00.2) Error (a.c:1): first (see "+log+")"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := criuSays("", "nothing\n"); got != "" {
		t.Errorf("got %q of an output without errors", got)
	}
}

// TestBindSources: a relative source is the bundle's.
func TestBindSources(t *testing.T) {
	spec := &specs.Spec{Mounts: []specs.Mount{
		{Destination: "/a", Source: "/x", Type: "bind"},
		{Destination: "/b", Source: "y", Options: []string{"rbind"}},
		{Destination: "/proc", Source: "proc", Type: "proc"},
	}}
	if got, want := fmt.Sprint(bindSources(spec, "/bundle")), "[mnt[null]:/dev/null mnt[/a]:/x mnt[/b]:/bundle/y]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRestoreHooks: when criu has made the namespaces, the hooks that a create
// has there are run again, and are told of the process that criu names.
func TestRestoreHooks(t *testing.T) {
	w := newWorld(t)
	trace := filepath.Join(t.TempDir(), "trace")
	note := func(kind string) []specs.Hook {
		return []specs.Hook{hook(t, `read -r s; s=${s#*'"pid":'}; echo `+kind+` ${s%%,*} >>`+trace)}
	}
	spec := w.spec("restored", "true")
	spec.Hooks = &specs.Hooks{Prestart: note("prestart"), CreateRuntime: note("createRuntime")} //nolint:staticcheck
	c, err := w.Create(t.Context(), CreateConfig{Namespace: "test", ID: "restored", Bundle: w.bundle("restored", spec), Rootfs: w.rootfs()})
	must(t, err)
	must(t, c.duringRestore(t.Context())("setup-namespaces", 77))
	must(t, c.duringRestore(t.Context())("network-unlock", 77))
	must(t, c.Delete(t.Context()))
	got, err := os.ReadFile(trace)
	must(t, err)
	if want := fmt.Sprintf("prestart %[1]d\ncreateRuntime %[1]d\nprestart 77\ncreateRuntime 77\n", c.Pid()); string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
