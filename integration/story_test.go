// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"

	"foundry/integration/env"
)

var nullIO = cio.NullIO

// sleeper is a container that stays until it is killed.
func sleeper(t testing.TB, d *env.Daemon) client.Container {
	t.Helper()
	return d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "100000"}})
}

func wantStatus(t testing.TB, d *env.Daemon, task client.Task, want client.ProcessStatus) {
	t.Helper()
	s, err := task.Status(d.Context(t))
	if err != nil || s.Status != want {
		t.Errorf("status of %q: got %q, %v, want %q", task.ID(), s.Status, err, want)
	}
}

// runsTo runs a container to its end, from any goroutine.
func runsTo(ctx context.Context, c client.Container, want uint32) error {
	return runWithIO(ctx, c, nullIO, want)
}

func runWithIO(ctx context.Context, c client.Container, io cio.Creator, want uint32) error {
	task, err := c.NewTask(ctx, io)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	exit, err := task.Wait(ctx)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := task.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	status := <-exit
	if _, err := task.Delete(ctx); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := status.Error(); err != nil || status.ExitCode() != want {
		return fmt.Errorf("exit: got %d, %w, want %d", status.ExitCode(), err, want)
	}
	return nil
}

// story is a test on a daemon that it shares with others.
type story struct {
	name string
	tell func(*testing.T, *env.Daemon)
}

func (s story) run(t *testing.T, d *env.Daemon) {
	t.Run(s.name, func(t *testing.T) {
		t.Cleanup(func() { d.CheckLeaks(t) }) // after the containers' own
		s.tell(t, d)
	})
}
