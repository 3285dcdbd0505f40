// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Upgrade has the spawner become another program in its own process: that in
// spawner, or the embedded one when that is nil. All it has made stays its.
func (c *Client) Upgrade(ctx context.Context, spawner []byte) error {
	if spawner == nil {
		spawner = spawnerBinary
	}
	f, err := executable(spawner)
	if err != nil {
		return fmt.Errorf("upgrade spawner: %w", err)
	}
	defer f.Close()
	return c.upgradeTo(ctx, f)
}

func (c *Client) upgradeTo(ctx context.Context, f *os.File) (err error) {
	if err := resumes(ctx, f); err != nil {
		return fmt.Errorf("upgrade spawner: %w", err)
	}
	var r reply
	err = c.withFDs([]*os.File{f}, func(fds []int) error {
		r, err = c.ask(ctx, &msg{Type: msgUpgrade}, fds, nil)
		return err
	})
	if err == nil {
		err = r.err()
	}
	if err != nil {
		return fmt.Errorf("upgrade spawner: %w", err)
	}
	c.greeted(&r.m)
	return nil
}

// resumes makes sure that the spawner in f can go on where this one stops. The
// running program could not be brought back.
func resumes(ctx context.Context, f *os.File) error {
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", "-versions")
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ask it for its versions: %w", err)
	}
	want := fmt.Sprintf("wire %d state %d", wireVersion, stateVersion)
	if got := strings.TrimSpace(string(out)); got != want {
		return fmt.Errorf("it has %q, this server needs %q", got, want)
	}
	return nil
}

// stateVersion is STATE_VERSION of c/upgrade.c; `spawner -versions` tells it.
const stateVersion = 1
