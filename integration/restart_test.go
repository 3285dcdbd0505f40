// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"

	"foundry/integration/env"
)

// containerd goes away and comes back; its containers never notice, and no exit
// of the time between is lost.
func TestContainerdRestarts(t *testing.T) {
	for name, end := range map[string]func(*env.Daemon, testing.TB){"Stop": (*env.Daemon).Stop, "Kill": (*env.Daemon).Kill} {
		t.Run(name, func(t *testing.T) { restart(t, end) })
	}
}

func restart(t *testing.T, end func(*env.Daemon, testing.TB)) {
	const n = 30
	d := env.Containerd(t, env.Config{})
	before := map[string]uint32{}
	var dies string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		c := sleeper(t, d)
		wg.Go(func() {
			task, err := c.NewTask(d.Context(t), nullIO)
			if err == nil {
				err = task.Start(d.Context(t))
			}
			if err != nil {
				t.Errorf("start: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			before[c.ID()] = task.Pid()
			if i == 0 {
				dies = c.ID()
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	end(d, t)
	if err := syscall.Kill(int(before[dies]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.Start(t)
	for id, pid := range before {
		task := load(t, d, id)
		if task == nil {
			continue
		}
		if task.Pid() != pid {
			t.Errorf("pid of %s: got %d, want %d", id, task.Pid(), pid)
		}
		if id == dies {
			exit, err := task.Wait(d.Context(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := env.Wait(t, exit).ExitCode(); got != 137 {
				t.Errorf("exit while containerd was away: got %d, want 137", got)
			}
			continue
		}
		wantStatus(t, d, task, client.Running)
		if r := d.Exec(t, task, "/bin/echo", strconv.Itoa(int(pid))); r.Stdout != strconv.Itoa(int(pid))+"\n" {
			t.Errorf("exec in %s after the restart: got %q", id, r.Stdout)
		}
	}
}

func load(t *testing.T, d *env.Daemon, id string) client.Task {
	t.Helper()
	c, err := d.Client.LoadContainer(d.Context(t), id)
	if err != nil {
		t.Errorf("load %s: %v", id, err)
		return nil
	}
	task, err := c.Task(d.Context(t), nil)
	if err != nil {
		t.Errorf("task of %s: %v", id, err)
		return nil
	}
	return task
}
