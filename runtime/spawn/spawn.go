// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// Request is what Spawn makes a process of.
type Request struct {
	Key    uint64     // not 0; names the process for ever after
	Plan   *plan.Plan //
	Files  []*os.File // as Plan.Files, in the same order; nil is /dev/null
	Cgroup *os.File   // directory of a cgroup v2 to be born in, or nil
	Helper bool       // a hook or logger
}

// Spawn has a process made. It returns when the process exists; what becomes
// of it Sync tells. Of a plan with [plan.OpFork] that is the process that is
// forked, and a step that fails before it is the error, a *[StageError]. A
// process of a cancelled Spawn is killed; its exit is told like any other.
func (c *Client) Spawn(ctx context.Context, r Request) (*Process, error) {
	if r.Key == 0 || len(r.Files) != len(r.Plan.Files) {
		return nil, fmt.Errorf("spawn: key %d, %d files for a plan of %d: %w", r.Key, len(r.Files), len(r.Plan.Files), unix.EINVAL)
	}
	if err := c.missing(r.Plan); err != nil {
		return nil, fmt.Errorf("spawn: %w", err)
	}
	body, err := Encode(r.Plan)
	if err != nil {
		return nil, fmt.Errorf("spawn: %w", err)
	}
	planFile, err := sealed("plan", body, unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return nil, fmt.Errorf("spawn: %w", err)
	}
	defer planFile.Close()
	status, childStatus, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("spawn: %w", err)
	}
	defer childStatus.Close()

	p := &Process{Key: r.Key, plan: r.Plan, status: status}
	m := msg{Type: msgSpawn, Key: r.Key, CloneFlags: r.Plan.Clone}
	m.Arg[0] = uint64(len(body))
	if r.Helper {
		m.Flags |= spawnHelper
	}
	files := append(make([]*os.File, 0, len(r.Files)+3), planFile, childStatus)
	if r.Cgroup != nil {
		m.Flags |= spawnCgroup
		files = append(files, r.Cgroup)
	}
	files = append(files, r.Files...)
	if err := c.spawn(ctx, p, &m, files); err != nil {
		return nil, errors.Join(err, status.Close())
	}
	return p, nil
}

func (c *Client) spawn(ctx context.Context, p *Process, m *msg, files []*os.File) error {
	c.mu.Lock()
	_, taken := c.procs[p.Key]
	if !taken {
		c.procs[p.Key] = p
	}
	c.mu.Unlock()
	if taken {
		return fmt.Errorf("spawn: key %d is in use: %w", p.Key, unix.EEXIST)
	}
	var r reply
	err := c.withFDs(files, func(fds []int) (err error) {
		r, err = c.ask(ctx, m, fds, p)
		return err
	})
	if err == nil && r.m.Err == 0 {
		return nil
	}
	c.mu.Lock()
	delete(c.procs, p.Key)
	c.mu.Unlock()
	closeFiles(r.files)
	switch {
	case err != nil:
		return fmt.Errorf("spawn: %w", err)
	case r.m.Flags&spawnStage != 0:
		return p.stageError(outcome{step: int(r.m.Arg[0]), errno: syscall.Errno(r.m.Err), what: text(r.m.Text[:])})
	}
	return fmt.Errorf("spawn: %w", r.err())
}

// withFDs calls f with the numbers of files, which stay open meanwhile.
func (c *Client) withFDs(files []*os.File, f func(fds []int) error) error {
	fds := make([]int, 0, len(files))
	var next func(i int) error
	next = func(i int) error {
		if i == len(files) {
			return f(fds)
		}
		file := files[i]
		if file == nil {
			file = c.null
		}
		raw, err := file.SyscallConn()
		if err != nil {
			return err
		}
		var ferr error
		err = raw.Control(func(fd uintptr) {
			fds = append(fds, int(fd))
			ferr = next(i + 1)
		})
		if err != nil {
			return err
		}
		return ferr
	}
	return next(0)
}
