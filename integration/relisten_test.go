// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"foundry/integration/env"
)

// Somebody removes the socket of a server that has containers: the next start
// has it made again, and no second server takes over the first one's instance.
func TestRemovedSocketIsMadeAgain(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	old := d.StartTask(t, sleeper(t, d))
	before := d.Servers()
	if err := os.Remove(strings.TrimPrefix(before[0].Address, "unix://")); err != nil {
		t.Fatal(err)
	}
	startMany(t, d, 4)
	if after := d.Servers(); len(after) != 1 || after[0] != before[0] {
		t.Fatalf("servers: got %+v, want %+v", after, before)
	}
	d.Restart(t)
	task := load(t, d, old.ID())
	if task == nil {
		t.FailNow()
	}
	exit, err := task.Wait(d.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Kill(d.Context(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := env.Wait(t, exit).ExitCode(); got != 137 {
		t.Errorf("exit: got %d, want 137", got)
	}
}
