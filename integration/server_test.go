// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/client"
	"google.golang.org/protobuf/proto"

	"foundry/integration/env"
)

// requireFoundry skips a story about Foundry's own processes.
func requireFoundry(t *testing.T) {
	t.Helper()
	if env.Runtime() != "io.containerd.foundry.v1" {
		t.Skip("is about one server for many containers")
	}
}

// startMany starts sleeping containers side by side.
func startMany(t *testing.T, d *env.Daemon, n int) []client.Task {
	t.Helper()
	var (
		mu    sync.Mutex
		tasks []client.Task
		wg    sync.WaitGroup
	)
	for range n {
		c := sleeper(t, d)
		wg.Go(func() {
			task, err := c.NewTask(d.Context(t), nullIO)
			if err == nil {
				err = task.Start(d.Context(t))
			}
			if err != nil {
				t.Errorf("start %s: %v", c.ID(), err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			tasks = append(tasks, task)
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return tasks
}

func TestOneServerForAllNamespaces(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	startMany(t, d, 3)
	startMany(t, d.Elsewhere(t, "x"), 3)
	if got := len(d.Servers()); got != 1 {
		t.Errorf("servers: got %d, want 1", got)
	}
}

// Whoever of the two dies, containerd calls `delete` for each container, and
// that leaves nothing, knows the exit of one that had ended, and the next
// container finds a new server.
func TestServerDies(t *testing.T) {
	requireFoundry(t)
	for name, victims := range map[string]func(env.Server) []int{
		"Server":  func(s env.Server) []int { return []int{s.Pid} },
		"Spawner": func(s env.Server) []int { return []int{s.Spawner} },
		"Both":    func(s env.Server) []int { return []int{s.Pid, s.Spawner} },
	} {
		t.Run(name, func(t *testing.T) { serverDies(t, victims) })
	}
}

func serverDies(t *testing.T, victims func(env.Server) []int) {
	d := env.Containerd(t, env.Config{})
	events := watch(t, d)
	tasks := startMany(t, d, 20)
	ended := d.StartTask(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "exit 33"}}))
	if got := env.Wait(t, ended.Exit).ExitCode(); got != 33 {
		t.Fatalf("exit: got %d, want 33", got)
	}
	servers := d.Servers()
	if len(servers) != 1 {
		t.Fatalf("servers: got %d, want 1", len(servers))
	}
	for _, pid := range victims(servers[0]) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range tasks {
		events.until(t, task.ID(), "delete")
		if env.Alive(int(task.Pid())) {
			t.Errorf("process %d of %s lives", task.Pid(), task.ID())
		}
	}
	d.CheckLeaks(t)
	if got := d.Run(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "exit 5"}})).Code(); got != 5 {
		t.Errorf("a container after the crash: got exit %d, want 5", got)
	}
	env.Eventually(t, "the old spawner leaves", func() bool { return !env.Alive(servers[0].Spawner) })
}

// `delete` by hand ends its own container, tells how, and harms no sibling.
func TestDeleteHarmsNoSibling(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	tasks := startMany(t, d, 5)
	bundle := filepath.Join(d.Dir, "state/io.containerd.runtime.v2.task", d.Namespace, tasks[0].ID())
	for range 2 { // the second finds nothing to do
		cmd := exec.Command(env.Bin(t)+"/containerd-shim-foundry-v1", "-namespace", d.Namespace, "-address", d.Address,
			"-publish-binary", "/bin/true", "-id", tasks[0].ID(), "-bundle", bundle, "delete")
		cmd.Dir, cmd.Stderr = bundle, os.Stderr
		begin := time.Now()
		out, err := cmd.Output()
		answer := &taskapi.DeleteResponse{}
		if err != nil || proto.Unmarshal(out, answer) != nil || answer.ExitStatus != 137 || answer.Pid != tasks[0].Pid() {
			t.Errorf("delete: got %v, %v, want status 137 of %d", err, answer, tasks[0].Pid())
		}
		if took := time.Since(begin); took > 5*time.Second*env.Slowness() {
			t.Errorf("delete took %s, containerd waits 5 s", took)
		}
	}
	for _, task := range tasks[1:] {
		wantStatus(t, d, task, client.Running)
	}
	// containerd knows nothing of what we did behind its back; at its next
	// start it finds a bundle without a container, and removes it.
	d.Restart(t)
}

// parallel does n things, some at a time, and gathers what they return.
func parallel(workers, n int, do func(i int) string) []string {
	out := make([]string, n)
	work := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range work {
				out[i] = do(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	return out
}
