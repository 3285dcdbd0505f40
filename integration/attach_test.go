// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"io"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"

	"foundry/integration/env"
)

// A client attaches to a container, containerd is killed and started, and
// another client attaches: it types and reads as the first one did, and stdin
// has not ended between the two.
func TestAttachAfterRestart(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/cat"}})
	keys, typed := io.Pipe()
	out := &env.Output{}
	ctx := d.Context(t)
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(keys, out, io.Discard), cio.WithFIFODir(d.Dir+"/io")))
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	types(t, typed, out, "first\n")
	for _, text := range []string{"second\n", "third\n"} {
		task.IO().Cancel() // the client goes, and does not close stdin
		typed.CloseWithError(io.ErrUnexpectedEOF)
		d.Kill(t)
		d.Start(t)
		keys, typed = io.Pipe()
		out = &env.Output{}
		task = attach(t, d, c.ID(), cio.WithStreams(keys, out, io.Discard))
		types(t, typed, out, text)
	}
	if err := task.CloseIO(d.Context(t), client.WithStdinCloser); err != nil {
		t.Fatal(err)
	}
	exit, err := task.Wait(d.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	typed.Close()
	if code := env.Wait(t, exit).ExitCode(); code != 0 {
		t.Errorf("got exit %d", code)
	}
	if _, err := task.Delete(d.Context(t)); err != nil {
		t.Error(err)
	}
}

func attach(t *testing.T, d *env.Daemon, id string, streams cio.Opt) client.Task {
	t.Helper()
	c, err := d.Client.LoadContainer(d.Context(t), id)
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.Task(d.Context(t), cio.NewAttach(streams))
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// types writes text and waits until it comes back.
func types(t *testing.T, w io.Writer, out *env.Output, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "an echo of "+strings.TrimSpace(text), func() bool { return strings.HasSuffix(out.String(), text) })
}
