// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// removeWait bounds how long Remove waits for processes that are dead but not
// yet gone: the kernel lets go of a group a moment after the exit is seen.
const removeWait = 2 * time.Second

// Remove removes the group from every hierarchy, and the groups that the
// container made below it. What is absent is removed already. Parents stay:
// they are shared.
func (g *Group) Remove() error {
	deadline := time.Now().Add(removeWait)
	var errs []error
	if err := g.stopScope(deadline); err != nil {
		errs = append(errs, fmt.Errorf("remove cgroup: %w", err))
	}
	for _, dir := range g.all() {
		if err := removeTree(dir, deadline); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

func removeTree(dir string, deadline time.Time) error {
	for delay := 100 * time.Microsecond; ; delay = min(2*delay, 20*time.Millisecond) {
		err := unix.Rmdir(dir)
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.EINTR:
			continue
		case unix.EBUSY, unix.ENOTEMPTY:
		default:
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		names, _ := subdirs(dir)
		for _, n := range names {
			if err := removeTree(dir+"/"+n, deadline); err != nil {
				return err
			}
		}
		if len(names) > 0 && delay == 100*time.Microsecond {
			continue // all that kept it are gone, most likely
		}
		if !time.Now().Before(deadline) {
			return busy(dir, err)
		}
		time.Sleep(delay)
	}
}

func busy(dir string, err error) error {
	pids, _ := pidsBelow(dir)
	return fmt.Errorf("rmdir %s: %w (processes in it: %v)", dir, err, pids)
}
