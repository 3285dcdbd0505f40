// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to everybody in the group and in the groups below it,
// frozen or not, until nobody is left or ctx ends. Do not clone into the
// group's directory afterwards: see takeOver.
func (g *Group) Kill(ctx context.Context) error {
	for pause := newPause(ctx); ; {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		if err := g.kill(); err != nil {
			return fmt.Errorf("kill cgroup %s: %w", g.path, err)
		}
		if err := pause.wait(); err != nil {
			return fmt.Errorf("kill cgroup %s: %d processes are left: %w", g.path, len(pids), err)
		}
	}
}

// kill goes round once.
func (g *Group) kill() error {
	if g.v2 != "" {
		err := writeFile(g.v2, "cgroup.kill", "1") // kernel 5.14
		if g.info.Unified && err == nil {
			return nil
		}
	}
	if g.info.Unified {
		return signalAll(g.v2)
	}
	// On v1, frozen processes cannot fork while they are listed, nor can their
	// numbers be given to others. They die when they are thawed.
	dir := g.dir("freezer")
	if dir == "" {
		return signalAll(g.members())
	}
	_ = writeFile(dir, "freezer.state", "FROZEN")
	return errors.Join(signalAll(dir), thawAll(dir))
}

// signalAll kills by pidfd, and only those that are listed both before and
// after the pidfd was opened: a number that was freed and given to a stranger
// in between is not in the second list.
func signalAll(dir string) error {
	before, err := pidsBelow(dir)
	if err != nil {
		return err
	}
	fds := make(map[int]int, len(before))
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, pid := range before {
		if pid == 0 {
			return fmt.Errorf("%s has a process of another pid namespace, which cannot be signalled from here", dir)
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			fds[pid] = fd
		} else if err != unix.ESRCH && err != unix.EINVAL && err != unix.ENOENT { // the latter two: a thread
			return fmt.Errorf("open process %d: %w", pid, err)
		}
	}
	after, err := pidsBelow(dir)
	if err != nil {
		return err
	}
	for pid, fd := range fds {
		if !slices.Contains(after, pid) {
			continue
		}
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return nil
}

// thawAll thaws a v1 group and those below it, which the container may have
// frozen itself.
func thawAll(dir string) error {
	err := writeFile(dir, "freezer.state", "THAWED")
	if isGone(err) {
		return nil
	}
	names, _ := subdirs(dir)
	for _, n := range names {
		err = errors.Join(err, thawAll(dir+"/"+n))
	}
	return err
}
