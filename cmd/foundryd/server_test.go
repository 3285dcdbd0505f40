// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	taskv3 "github.com/containerd/containerd/api/runtime/task/v3"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"foundry/integration/env"
	"foundry/shim"
)

// instance is a server of the test's own, without a containerd.
type instance struct {
	program string
	root    string
	client  *ttrpc.Client
	ctx     context.Context
	pid     int
	spawner int
}

// bootInstance boots a spawner and its server, and ends both with the test.
func bootInstance(t *testing.T) *instance {
	t.Helper()
	env.RequireRoot(t)
	// The last element names the server's cgroups: not one of t.TempDir's numbers.
	root, err := os.MkdirTemp("", "foundryd-test-*")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	in := &instance{program: filepath.Join(env.Bin(t), "foundryd"), root: root}
	r, w, err := os.Pipe()
	must(t, err)
	socket := filepath.Join(in.root, "task.sock")
	cmd := exec.Command(in.program, "boot", "-root", in.root, "-socket", socket, "-address", "/nonexistent", "-ttrpc", "/nonexistent.ttrpc")
	cmd.ExtraFiles, cmd.SysProcAttr = []*os.File{w}, &syscall.SysProcAttr{Setsid: true}
	must(t, cmd.Start())
	w.Close()
	said, err := io.ReadAll(r)
	if err != nil || string(said) != "ok\n" {
		t.Fatalf("boot: %q, %v", said, err)
	}
	in.pid, in.spawner = in.number(t, "pid"), in.number(t, "spawner")
	if in.spawner != cmd.Process.Pid {
		t.Errorf("spawner is %d, started %d", in.spawner, cmd.Process.Pid)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(in.pid, syscall.SIGTERM)
		patience := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		if !patience.Stop() {
			t.Error("the server did not stop when it was empty")
		}
		left, _ := filepath.Glob("/sys/fs/cgroup/*/foundry/" + filepath.Base(in.root))
		if len(left) > 0 {
			t.Errorf("cgroups left: %v", left)
		}
	})
	conn, err := net.Dial("unix", socket)
	must(t, err)
	in.client = ttrpc.NewClient(conn)
	t.Cleanup(func() { in.client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	in.ctx = ttrpc.WithMetadata(ctx, ttrpc.MD{"containerd-namespace-ttrpc": {"ns"}})
	return in
}

// number reads a number from the file in which the server describes itself.
func (in *instance) number(t *testing.T, key string) int {
	t.Helper()
	data, err := os.ReadFile(serverFile(in.root))
	must(t, err)
	for line := range strings.Lines(string(data)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), "="); k == key {
			n, err := strconv.Atoi(v)
			must(t, err)
			return n
		}
	}
	t.Fatalf("no %s in %q", key, data)
	return 0
}

// call makes a call of one version of the service. v2's messages serve both:
// on the wire they are the same.
func (in *instance) call(service, method string, req, resp proto.Message) error {
	return errgrpc.ToNative(in.client.Call(in.ctx, service, method, req, resp))
}

// bundle makes a container that sleeps.
func bundle(t *testing.T, id string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "proc", "dev"} {
		must(t, os.MkdirAll(filepath.Join(dir, "rootfs", d), 0o755))
	}
	busybox, err := os.ReadFile("/bin/busybox")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "rootfs/bin/sleep"), busybox, 0o755))
	group := fmt.Sprintf("/foundryd-test-%d", os.Getpid())
	spec := specs.Spec{
		Version: "1.2.0",
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"/bin/sleep", "1000"}, Cwd: "/", Env: []string{"PATH=/bin"}},
		Mounts:  []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{
			CgroupsPath: group + "/" + id,
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}},
		},
	}
	data, err := json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600))
	t.Cleanup(func() {
		parents, _ := filepath.Glob("/sys/fs/cgroup/*" + group)
		for _, p := range append(parents, "/sys/fs/cgroup"+group) {
			_ = os.Remove(p)
		}
	})
	return dir
}

// TestBothVersions runs the same life through both services of one server.
func TestBothVersions(t *testing.T) {
	in := bootInstance(t)
	for _, service := range []string{"containerd.task.v2.Task", "containerd.task.v3.Task"} {
		in.life(t, service, "c"+service[len("containerd.task.v"):len("containerd.task.v")+1])
	}
	// The generated client of v3 is what containerd itself uses.
	if _, err := taskv3.NewTTRPCTaskClient(in.client).Connect(in.ctx, &taskv3.ConnectRequest{ID: "x"}); err != nil {
		t.Error(err)
	}
}

func (in *instance) life(t *testing.T, service, id string) {
	t.Helper()
	dir, none := bundle(t, id), &emptypb.Empty{}
	ok := func(method string, req, resp proto.Message) {
		t.Helper()
		if err := in.call(service, method, req, resp); err != nil {
			t.Fatalf("%s/%s: %v", service, method, err)
		}
	}
	status := func(exec string, want tasktypes.Status) {
		t.Helper()
		var state taskv2.StateResponse
		ok("State", &taskv2.StateRequest{ID: id, ExecID: exec}, &state)
		if state.Status != want {
			t.Errorf("%s: %q is %v, want %v", service, exec, state.Status, want)
		}
	}
	create := &taskv2.CreateTaskRequest{ID: id, Bundle: dir}
	ok("Create", create, &taskv2.CreateTaskResponse{})
	if err := in.call(service, "Create", create, none); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second create: %v", err)
	}
	status("", tasktypes.Status_CREATED)
	exits := make(chan uint32, 1)
	go func() {
		var w taskv2.WaitResponse
		if err := in.call(service, "Wait", &taskv2.WaitRequest{ID: id}, &w); err != nil {
			t.Error(err)
		}
		exits <- w.ExitStatus
	}()
	ok("Start", &taskv2.StartRequest{ID: id}, &taskv2.StartResponse{})
	status("", tasktypes.Status_RUNNING)
	in.exec(t, service, id, ok, status)
	ok("Pause", &taskv2.PauseRequest{ID: id}, none)
	status("", tasktypes.Status_PAUSED)
	if err := in.call(service, "Exec", execRequest(t, id, "0"), none); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("exec into a paused container: %v", err)
	}
	ok("Resume", &taskv2.ResumeRequest{ID: id}, none)
	ok("Update", &taskv2.UpdateTaskRequest{ID: id, Resources: &anypb.Any{Value: []byte(`{"pids":{"limit":50}}`)}}, none)
	var stats taskv2.StatsResponse
	ok("Stats", &taskv2.StatsRequest{ID: id}, &stats)
	if !strings.HasPrefix(stats.Stats.GetTypeUrl(), "io.containerd.cgroups.v") {
		t.Errorf("stats are %q", stats.Stats.GetTypeUrl())
	}
	if err := in.call(service, "Delete", &taskv2.DeleteRequest{ID: id}, none); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "cannot delete a running process") {
		t.Errorf("delete a running container: %v", err)
	}
	ok("Kill", &taskv2.KillRequest{ID: id, Signal: 9}, none)
	if got := <-exits; got != 137 {
		t.Errorf("exit status %d, want 137", got)
	}
	if err := in.call(service, "Kill", &taskv2.KillRequest{ID: id, Signal: 9}, none); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "process already finished") {
		t.Errorf("kill after exit: %v", err)
	}
	in.end(t, service, id, dir, ok)
}

func execRequest(t *testing.T, id, seconds string) *taskv2.ExecProcessRequest {
	t.Helper()
	spec, err := json.Marshal(specs.Process{Args: []string{"/bin/sleep", seconds}, Cwd: "/"})
	must(t, err)
	return &taskv2.ExecProcessRequest{ID: id, ExecID: "e", Spec: &anypb.Any{Value: spec}}
}

// exec runs an exec through its life.
func (in *instance) exec(t *testing.T, service, id string, ok func(string, proto.Message, proto.Message), status func(string, tasktypes.Status)) {
	t.Helper()
	none := &emptypb.Empty{}
	ok("Exec", execRequest(t, id, "1000"), none)
	status("e", tasktypes.Status_CREATED)
	ok("Start", &taskv2.StartRequest{ID: id, ExecID: "e"}, &taskv2.StartResponse{})
	var pids taskv2.PidsResponse
	ok("Pids", &taskv2.PidsRequest{ID: id}, &pids)
	named := 0
	for _, p := range pids.Processes {
		if p.Info.GetTypeUrl() == "containerd.runc.v1.ProcessDetails" {
			named++
		}
	}
	if len(pids.Processes) != 2 || named != 1 {
		t.Errorf("%s: processes %v", service, pids.Processes)
	}
	ok("Kill", &taskv2.KillRequest{ID: id, ExecID: "e", Signal: 15}, none)
	var w taskv2.WaitResponse
	ok("Wait", &taskv2.WaitRequest{ID: id, ExecID: "e"}, &w)
	if w.ExitStatus != 143 {
		t.Errorf("exec's exit status %d, want 143", w.ExitStatus)
	}
	ok("Delete", &taskv2.DeleteRequest{ID: id, ExecID: "e"}, &taskv2.DeleteResponse{})
	if err := in.call(service, "State", &taskv2.StateRequest{ID: id, ExecID: "e"}, none); !errdefs.IsNotFound(err) {
		t.Errorf("state of a deleted exec: %v", err)
	}
}

// end deletes the container and looks at what `delete` then prints.
func (in *instance) end(t *testing.T, service, id, dir string, ok func(string, proto.Message, proto.Message)) {
	t.Helper()
	var deleted, printed taskv2.DeleteResponse
	ok("Delete", &taskv2.DeleteRequest{ID: id}, &deleted)
	if deleted.ExitStatus != 137 || deleted.Pid == 0 || deleted.ExitedAt == nil {
		t.Errorf("deleted: %v", &deleted)
	}
	if err := in.call(service, "Delete", &taskv2.DeleteRequest{ID: id}, &emptypb.Empty{}); !errdefs.IsNotFound(err) {
		t.Errorf("second delete: %v", err)
	}
	ok("Shutdown", &taskv2.ShutdownRequest{ID: id}, &emptypb.Empty{})
	if _, err := os.Stat(filepath.Join(dir, shim.ExitFile)); err != nil {
		t.Error(err)
	}
	must(t, proto.Unmarshal(in.delete(t, id, dir), &printed))
	if !proto.Equal(&deleted, &printed) {
		t.Errorf("delete prints %v, want %v", &printed, &deleted)
	}
}

// delete runs `foundryd delete`, as the launchers of older builds do.
func (in *instance) delete(t *testing.T, id, dir string) []byte {
	t.Helper()
	cmd := exec.Command(in.program, "delete", "-root", in.root, "-namespace", "ns", "-id", id, "-bundle", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("delete: %v: %s", err, &stderr)
	}
	return out
}

// TestDeleteAsksTheServer: containerd has given up a container that runs.
func TestDeleteAsksTheServer(t *testing.T) {
	in := bootInstance(t)
	dir := bundle(t, "c")
	tasks := taskv2.NewTTRPCTaskClient(in.client)
	if _, err := tasks.Create(in.ctx, &taskv2.CreateTaskRequest{ID: "c", Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.Start(in.ctx, &taskv2.StartRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be called again
		var r taskv2.DeleteResponse
		must(t, proto.Unmarshal(in.delete(t, "c", dir), &r))
		if r.ExitStatus != 137 || r.Pid == 0 {
			t.Errorf("got %v", &r)
		}
	}
	if _, err := tasks.State(in.ctx, &taskv2.StateRequest{ID: "c"}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("the server still knows it: %v", err)
	}
}

// TestServerGoesWithItsSpawner at once: it could start and reap nothing.
func TestServerGoesWithItsSpawner(t *testing.T) {
	in := bootInstance(t)
	dir := bundle(t, "c")
	tasks := taskv2.NewTTRPCTaskClient(in.client)
	if _, err := tasks.Create(in.ctx, &taskv2.CreateTaskRequest{ID: "c", Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	must(t, syscall.Kill(in.spawner, syscall.SIGKILL))
	if _, err := tasks.Wait(in.ctx, &taskv2.WaitRequest{ID: "c"}); err == nil {
		t.Error("Wait answered without a spawner")
	}
	var r taskv2.DeleteResponse
	must(t, proto.Unmarshal(in.delete(t, "c", dir), &r))
	if r.ExitStatus != 137 {
		t.Errorf("got %v", &r)
	}
	for _, name := range []string{"/server", "/spawner", ""} { // as the next server would find them
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/foundry/" + filepath.Base(in.root) + name)
		for _, g := range groups {
			removeGroup(t, g)
		}
	}
}

// removeGroup removes a cgroup whose last process is being reaped.
func removeGroup(t *testing.T, dir string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		err := os.Remove(dir)
		if err == nil || os.IsNotExist(err) {
			return
		}
		if time.Now().After(end) {
			t.Error(err)
			return
		}
	}
}
