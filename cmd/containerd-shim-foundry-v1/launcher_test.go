// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	task "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// house is one installation and one containerd's worth of state.
type house struct {
	t         testing.TB
	bin, root string
}

func newHouse(t testing.TB) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "fl") // short: socket paths end in it
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, bin: dir + "/bin", root: dir + "/r"}
	for _, d := range []string{h.bin, h.root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(launcher, h.bin+"/containerd-shim-foundry-v1"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/foundryd", "/foundry-delete"} {
		if err := os.Symlink(self, h.bin+name); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, pid := range h.servers() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		os.RemoveAll(dir)
	})
	return h
}

// instance is the directory of the only instance.
func (h *house) instance() string {
	found, _ := filepath.Glob(h.root + "/????????????????????????????????")
	if len(found) != 1 {
		h.t.Fatalf("instances: got %q, want one", found)
	}
	return found[0]
}

// read returns a file of the instance, "" when absent.
func (h *house) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(h.instance(), name))
	return string(b)
}

func (h *house) servers() (pids []int) {
	found, _ := filepath.Glob(h.root + "/*/server")
	for _, f := range found {
		b, _ := os.ReadFile(f)
		if pid, err := strconv.Atoi(value(b, "pid")); err == nil && pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// command is the launcher as containerd 2.4 executes it.
func (h *house) command(bundle string, stdin []byte, action ...string) *exec.Cmd {
	argv := append([]string{"-namespace", "default", "-address", "/run/c.sock", "-publish-binary", "/bin/containerd", "-id", "web-1"}, action...)
	c := exec.Command(h.bin+"/containerd-shim-foundry-v1", argv...)
	c.Dir, c.Stdin = bundle, bytes.NewReader(stdin)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "FOUNDRY_ROOT=" + h.root, "GOMAXPROCS=2", "NAMESPACE=default",
		"TTRPC_ADDRESS=/run/c.ttrpc", "OTEL_SERVICE_NAME=x"}
	return c
}

func (h *house) start(stdin []byte) string {
	h.t.Helper()
	out, err := h.command(h.t.TempDir(), stdin, "start").CombinedOutput()
	if err != nil {
		h.t.Fatalf("start: %v: %s", err, out)
	}
	return string(out)
}

func bootstrapParams(t testing.TB, change func(*bootapi.BootstrapParams)) []byte {
	t.Helper()
	p := &bootapi.BootstrapParams{InstanceID: "web-1", Namespace: "default", LogLevel: -4, ContainerdVersion: "v2.4.2",
		ContainerdTtrpcAddress: "/run/c.ttrpc", ContainerdGrpcAddress: "/run/c.sock", ContainerdBinary: "/bin/containerd"}
	if err := p.AddExtension(&anypb.Any{TypeUrl: "containerd.runc.v1.Options", Value: []byte{8, 1}}); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(p)
	}
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func result(t *testing.T, out string) *bootapi.BootstrapResult {
	t.Helper()
	r := &bootapi.BootstrapResult{}
	if err := proto.Unmarshal([]byte(out), r); err != nil {
		t.Fatalf("answer %q: %v", out, err)
	}
	return r
}

func TestStartAnswersInTheFormOfItsCaller(t *testing.T) {
	h := newHouse(t)
	options, _ := proto.Marshal(&anypb.Any{TypeUrl: "containerd.runc.v1.Options", Value: []byte{8, 1}})
	r := result(t, h.start(bootstrapParams(t, nil)))
	address := "unix://" + h.instance() + "/task.sock"
	if r.Version != 3 || r.Address != address || r.Protocol != "ttrpc" {
		t.Errorf("result: got %v, want version 3, %s", r, address)
	}
	// Found and empty: containerd executes -info for a shim that says nothing.
	caps := &types.MountCapabilities{}
	if found, err := r.FindExtension(caps); !found || err != nil || len(caps.Types)+len(caps.Transforms) > 0 {
		t.Errorf("mount capabilities: got %t, %v, %v, want an empty extension", found, err, caps)
	}
	want := `{"version":2,"address":"` + address + `","protocol":"ttrpc"}`
	for name, stdin := range map[string][]byte{"nothing, 1.7": nil, "options, 2.2": options} {
		if got := h.start(stdin); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := strings.Count(h.read("boots"), "\n"); got != 1 {
		t.Errorf("servers started: got %d, want 1", got)
	}
	if mode := stat(t, h.instance()).Mode().Perm(); mode != 0o700 {
		t.Errorf("instance directory: got %o, want 700", mode)
	}
}

func TestStartRefuses(t *testing.T) {
	tests := []struct {
		name, behave, want string
		stdin              []byte
	}{
		{"garbage", "", "stdin: not a protobuf message", []byte("\xff\xff garbage")},
		{"group end", "", "stdin: not a protobuf message", []byte{12}},
		{"another container", "", `they are for container "db" in namespace "default"`,
			bootstrapParams(t, func(p *bootapi.BootstrapParams) { p.InstanceID = "db" })},
		{"long socket_dir", "", "longer than the 107 bytes", bootstrapParams(t, func(p *bootapi.BootstrapParams) {
			p.SocketDir = proto.String("/" + strings.Repeat("d", 80))
		})},
		{"server refuses", "refuse", "foundryd: load spawner: out of paper\n", nil},
		{"server dies", "die", "foundryd: ended before it was ready, exit status 3 (see ", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			os.WriteFile(h.root+"/behave", []byte(tt.behave), 0o600)
			out, err := h.command(t.TempDir(), tt.stdin, "start").CombinedOutput()
			if err == nil || err.Error() != "exit status 1" {
				t.Errorf("got %v, want exit status 1", err)
			}
			if !strings.Contains(string(out), tt.want) || strings.Count(string(out), "\n") != 1 {
				t.Errorf("got %q, want one line with %q", out, tt.want)
			}
		})
	}
}

func TestFiftyFirstStartsLeaveOneServer(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	answers := make([]string, 50)
	for i := range answers {
		cmd := h.command(t.TempDir(), bootstrapParams(t, nil), "start")
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			answers[i] = string(out)
			if err != nil {
				answers[i] = fmt.Sprintf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	for i, a := range answers {
		path := trimScheme(result(t, a).Address)
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("address %d: %v", i, err)
		}
		c.Close()
	}
	if got := strings.Count(h.read("boots"), "\n"); got != 1 {
		t.Errorf("servers started: got %d, want 1", got)
	}
}

func TestDeadSocketIsReplaced(t *testing.T) {
	h := newHouse(t)
	first := h.start(nil)
	for _, pid := range h.servers() {
		syscall.Kill(pid, syscall.SIGKILL)
		for syscall.Kill(pid, 0) == nil { // init reaps it, we are not its parent
			time.Sleep(time.Millisecond)
		}
	}
	if got := h.start(nil); got != first {
		t.Errorf("address: got %q, want %q", got, first)
	}
	if got := strings.Count(h.read("boots"), "\n"); got != 2 {
		t.Errorf("servers started: got %d, want 2", got)
	}
}

func TestForeignFileAtTheSocketStays(t *testing.T) {
	h := newHouse(t)
	dir := h.root + "/s"
	params := bootstrapParams(t, func(p *bootapi.BootstrapParams) { p.SocketDir = &dir })
	os.Mkdir(dir, 0o700)
	h.start(params)
	socket := dir + "/foundry-" + filepath.Base(h.instance())
	for _, pid := range h.servers() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	os.Remove(socket)
	os.WriteFile(socket, nil, 0o600)
	out, err := h.command(t.TempDir(), params, "start").CombinedOutput()
	if err == nil || !strings.Contains(string(out), socket+": not a socket") {
		t.Errorf("got %v, %q, want a refusal that names %s", err, out, socket)
	}
	if _, err := os.Stat(socket); err != nil {
		t.Error(err)
	}
}

// containerd was restarted with another socket_dir, the server lives on.
func TestSocketDirChanged(t *testing.T) {
	h := newHouse(t)
	first := result(t, h.start(bootstrapParams(t, nil))).Address
	other := t.TempDir()
	got := result(t, h.start(bootstrapParams(t, func(p *bootapi.BootstrapParams) { p.SocketDir = &other }))).Address
	if got != first {
		t.Errorf("address: got %q, want %q of the live server", got, first)
	}
}

func TestServerInheritsNothing(t *testing.T) {
	h := newHouse(t)
	extra, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	cmd := h.command(t.TempDir(), nil, "start")
	cmd.ExtraFiles = []*os.File{extra, extra, extra}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	own, _ := os.ReadFile("/proc/self/oom_score_adj")
	score, _ := strconv.Atoi(strings.TrimSpace(string(own)))
	want := fmt.Sprintf("cwd /\nleader true\noom %d\nenv [%q]\nfd 0 /dev/null\nfd 1 /dev/null\nfd 2 /dev/null\nfd 3 pipe:\n",
		min(score+1, 1000), "PATH="+os.Getenv("PATH"))
	if got := h.read("saw"); got != want {
		t.Errorf("the server found:\n%s\nwant:\n%s", got, want)
	}
	boot := "boot -root " + h.instance() + " -address /run/c.sock -ttrpc /run/c.ttrpc -socket " + h.instance() + "/task.sock -publish /bin/containerd\n"
	if got := h.read("boots"); got != boot {
		t.Errorf("boot: got %q, want %q", got, boot)
	}
}

func TestServerOfAnotherBuildRetires(t *testing.T) {
	h := newHouse(t)
	h.start(nil)
	// the same program, installed anew: another inode
	self, _ := os.Executable()
	os.Remove(h.bin + "/foundryd")
	if out, err := exec.Command("cp", self, h.bin+"/foundryd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	os.WriteFile(h.root+"/busy", nil, 0o600)
	h.start(nil)
	if got := strings.Count(h.read("boots"), "\n"); got != 1 {
		t.Errorf("busy server: %d starts, want 1", got)
	}
	os.Remove(h.root + "/busy")
	h.start(nil)
	h.start(nil)
	if got := strings.Count(h.read("boots"), "\n"); got != 2 {
		t.Errorf("idle server: %d starts, want 2", got)
	}
	if got := h.read("control"); got != "retire\nretire\n" {
		t.Errorf("control: got %q, want two requests to retire", got)
	}
}

func TestStartNeedsFoundryd(t *testing.T) {
	h := newHouse(t)
	os.Remove(h.bin + "/foundryd")
	out, _ := h.command(t.TempDir(), nil, "start").CombinedOutput()
	want := "start " + h.bin + "/foundryd: no such file or directory (foundryd belongs beside"
	if !strings.Contains(string(out), want) {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestDelete(t *testing.T) {
	h := newHouse(t)
	bundle := t.TempDir()
	run := func() string {
		out, err := h.command(bundle, nil, "-bundle", bundle, "delete").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	want := "foundry-delete -namespace default -id web-1 -address /run/c.sock -publish-binary /bin/containerd -bundle " + bundle + " -root "
	if got := run(); !strings.HasPrefix(got, want+h.root+"/") {
		t.Errorf("no exit recorded: got %q, want %q and an instance", got, want)
	}
	os.WriteFile(bundle+"/foundry", []byte("/somewhere/else\n"), 0o600)
	if got := run(); got != want+"/somewhere/else" {
		t.Errorf("with a pointer: got %q, want %q", got, want+"/somewhere/else")
	}
	os.Remove(h.bin + "/foundry-delete")
	if got := run(); got != "foundryd delete "+strings.TrimPrefix(want, "foundry-delete ")+"/somewhere/else" {
		t.Errorf("among programs of an older build: got %q", got)
	}
	recorded, _ := proto.Marshal(&task.DeleteResponse{Pid: 7, ExitStatus: 137})
	os.WriteFile(bundle+"/foundry.exit", recorded, 0o600)
	if got := run(); got != string(recorded) {
		t.Errorf("exit recorded: got %q, want %q", got, recorded)
	}
	gone := bundle + "/gone"
	out, err := h.command(bundle, nil, "-bundle", gone, "delete").CombinedOutput()
	answer := &task.DeleteResponse{}
	if err != nil || proto.Unmarshal(out, answer) != nil || answer.ExitStatus != 255 || time.Since(answer.ExitedAt.AsTime()) > time.Minute {
		t.Errorf("bundle gone: got %v, %q, %v, want status 255, now", err, out, answer)
	}
}

func TestInfoAndVersionAreFoundryds(t *testing.T) {
	h := newHouse(t)
	for flag, want := range map[string]string{"-info": "foundryd info", "-v": "foundryd version", "--version": "foundryd version"} {
		out, err := exec.Command(h.bin+"/containerd-shim-foundry-v1", flag).CombinedOutput()
		if string(out) != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", flag, out, err, want)
		}
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi
}
