// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

// scrape reads the metrics of d's server as Prometheus would.
func scrape(t *testing.T, d *env.Daemon) map[string]*dto.MetricFamily {
	t.Helper()
	socket := d.Servers()[0].Dir + "/debug.sock"
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	resp, err := c.Get("http://foundry/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return families
}

// value adds up the samples of a family that have these labels.
func value(f *dto.MetricFamily, labels ...string) (sum float64) {
	for _, m := range f.GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		match := true
		for i := 0; i+1 < len(labels); i += 2 {
			match = match && has[labels[i]] == labels[i+1]
		}
		if match {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestMetrics(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	c := assemble(t, d)
	d.Exec(t, c.running, "/bin/true")
	bad := func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.no.such": "1"} }
	if err := (failing{name: "bad", spec: bad}).try(t, d, nil); err == nil {
		t.Error("bad sysctl: got no error")
	}
	f := scrape(t, d)
	for _, w := range []struct {
		name   string
		want   float64
		labels []string
	}{
		{"foundry_containers", 1, []string{"state", "running"}},
		{"foundry_containers", 1, []string{"state", "paused"}},
		{"foundry_containers", 3, []string{"state", "stopped"}},
		{"foundry_creates_total", 6, nil},
		{"foundry_creates_failed_total", 1, nil},
		{"foundry_exits_total", 4, []string{"process", "init"}},
		{"foundry_exits_total", 1, []string{"process", "exec"}},
		{"foundry_execs", 0, nil},
		{"foundry_oom_events_total", 1, nil},
		{"foundry_events_lost_total", 0, nil},
		{"foundry_containers_unmeasured", 0, nil},
		{"foundry_rpc_duration_seconds", 6, []string{"method", "Create", "code", "OK"}},
		{"foundry_rpc_duration_seconds", 7, []string{"method", "Create"}},
		{"foundry_container_memory_limit_bytes", 16 << 20, []string{"id", "oom"}},
		{"foundry_container_oom_kills_total", 1, []string{"id", "oom"}},
		{"foundry_container_pids", 1, []string{"id", "running", "namespace", d.Namespace}},
	} {
		if got := value(f[w.name], w.labels...); got != w.want {
			t.Errorf("%s%q: got %v, want %v", w.name, w.labels, got, w.want)
		}
	}
	for _, name := range []string{"foundry_goroutines", "foundry_open_fds", "foundry_events_delivered_total", "foundry_container_cpu_seconds_total"} {
		if value(f[name]) <= 0 {
			t.Errorf("%s: got nothing", name)
		}
	}
	_, err := os.Stat("/proc/pressure/memory")
	if err == nil && env.Unified() && value(f["foundry_container_pressure_seconds_total"], "id", "oom") <= 0 {
		t.Error("a container that ran out of memory has no pressure")
	}
	manual, err := os.ReadFile(env.Module(t) + "/docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range f {
		if !bytes.Contains(manual, []byte("`"+name+"`")) {
			t.Errorf("docs/operating.md does not explain %s", name)
		}
	}
}

// Nobody but the server's own user gets an answer, whatever the modes of the
// socket and the directories above it.
func TestDebugSocketIsOurs(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	d.StartTask(t, sleeper(t, d))
	dir := d.Servers()[0].Dir
	socket := dir + "/debug.sock"
	st, err := os.Stat(socket)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode: %v, %v, want 0600", st.Mode(), err)
	}
	if got := askAs(t, 0, socket); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("as root: got %q", got)
	}
	for path, mode := range map[string]os.FileMode{d.Dir: 0o755, filepath.Dir(dir): 0o755, dir: 0o755, socket: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if got := askAs(t, 65534, socket); got != "" {
		t.Errorf("as nobody: got %q", got)
	}
}

// askAs connects as another user and returns the head of the answer.
func askAs(t *testing.T, uid int, socket string) string {
	t.Helper()
	// The thread that changes its user dies with its goroutine.
	answer := make(chan string)
	go func() {
		runtime.LockOSThread()
		answer <- func() string {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				return errno.Error()
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err.Error()
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
				return err.Error()
			}
			if _, err := unix.Write(fd, []byte("GET /v1/server HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
				return "" // closed before we could ask
			}
			buf := make([]byte, 64)
			n, _ := unix.Read(fd, buf)
			return string(buf[:max(0, n)])
		}()
	}()
	return <-answer
}

// The exit status of `foundry check` says whether containers can run.
func TestCheck(t *testing.T) {
	env.RequireRoot(t)
	program := filepath.Join(t.TempDir(), "foundry")
	text, err := os.ReadFile(filepath.Join(env.Bin(t), "foundry"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(uid uint32) (states map[string]string, code int) {
		cmd := exec.Command(program, "check", "-o", "json")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		var findings []struct{ Name, State, Found, Effect string }
		if err := json.Unmarshal(out, &findings); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		states = map[string]string{}
		for _, f := range findings {
			states[f.Name] = f.State
			if f.Found == "" || (f.State != "ok") != (f.Effect != "") {
				t.Errorf("finding: %+v", f)
			}
		}
		return states, cmd.ProcessState.ExitCode()
	}
	states, code := run(0)
	worst := 0
	for name, s := range states {
		if s == "fatal" {
			t.Errorf("%s is said to keep containers from running; they do run here", name)
		}
		if s == "degraded" {
			worst = 1
		}
	}
	if code != worst || states["kernel"] != "ok" || (states["cgroup v2 alone"] == "ok") != env.Unified() {
		t.Errorf("exit status %d, %v", code, states)
	}
	for dir := filepath.Dir(program); dir != "/"; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && st.Mode()&0o005 != 0o005 {
			if err := os.Chmod(dir, st.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
	if states, code := run(65534); code != 2 || states["root"] != "fatal" {
		t.Errorf("as nobody: exit status %d, %v", code, states)
	}
}
