// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"io"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"

	"foundry/integration/env"
)

// A client that deletes a task as soon as it has ended closes the output's
// fifo at once (client.Task.Delete cancels its copying). So whoever reports an
// exit before the output has been taken loses it for such a client.
func TestOutputOfShortLives(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	const n, workers = 200, 8
	parallel(workers, n, func(i int) string {
		ctx, out, want := d.Context(t), &env.Output{}, fmt.Sprintf("kept %d\n", i)
		c, err := d.NewContainer(ctx, env.ContainerConfig{Args: []string{"/bin/echo", "kept", fmt.Sprint(i)}})
		if err != nil {
			t.Errorf("container: %v", err)
			return ""
		}
		defer func() {
			if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil {
				t.Errorf("%s: %v", c.ID(), err)
			}
		}()
		err = runWithIO(ctx, c, cio.NewCreator(cio.WithStreams(nil, out, io.Discard), cio.WithFIFODir(d.Dir+"/io")), 0)
		if err != nil {
			t.Errorf("%s: %v", c.ID(), err)
		}
		if got := out.String(); got != want {
			t.Errorf("%s: got %q, want %q", c.ID(), got, want)
		}
		return ""
	})
}
