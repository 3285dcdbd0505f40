// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	"foundry/integration/env"
)

// TestOldContainerd: containerd 1.7 says nothing on the launcher's standard
// input and wants text back; it speaks the second version of the task API.
func TestOldContainerd(t *testing.T) {
	d := env.Containerd(t, env.Config{Old: true})
	for _, s := range []story{
		{"ExitCodes", exitCodes},
		{"CreatedThenDeleted", createdThenDeleted},
		{"Exec", execs},
		{"Kill", kill},
		{"KillAll", killAll},
		{"Pause", pause},
		{"Pids", pids},
		{"Stats", stats},
		{"OOM", oom},
		{"Restarted", restarted},
	} {
		s.run(t, d)
	}
	if got := len(d.Servers()); got != 1 {
		t.Errorf("servers: got %d, want one for all containers", got)
	}
}

// restarted: the daemon finds its container again, and hears of its end.
func restarted(t *testing.T, d *env.Daemon) {
	c := sleeper(t, d)
	pid := d.StartTask(t, c).Pid()
	d.Restart(t)
	task := load(t, d, c.ID())
	if task == nil {
		t.FailNow()
	}
	if task.Pid() != pid {
		t.Errorf("pid after the restart: got %d, want %d", task.Pid(), pid)
	}
	exit, err := task.Wait(d.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Kill(d.Context(t), 9); err != nil {
		t.Fatal(err)
	}
	if got := env.Wait(t, exit).ExitCode(); got != 137 {
		t.Errorf("exit code: got %d, want 137", got)
	}
	if _, err := task.Delete(d.Context(t)); err != nil {
		t.Fatal(err)
	}
}
