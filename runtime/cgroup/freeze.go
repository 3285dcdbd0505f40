// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Freeze stops every process of the group, and returns when all have stopped
// or, thawed again, with an error when ctx ends before that.
func (g *Group) Freeze(ctx context.Context) error {
	err := g.freeze(ctx)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("freeze cgroup %s: %w", g.path, err), g.Thaw())
}

func (g *Group) freeze(ctx context.Context) error {
	dir, file, value, err := g.freezer(true)
	if err != nil {
		return err
	}
	// v1 only asks those that are members now. One that forks or enters
	// meanwhile leaves the state at FREEZING: ask again, and now and then let
	// go, so that a fork that waits for a frozen process can finish.
	pause := newPause(ctx)
	for try := 1; ; try++ {
		if err := writeFile(dir, file, value); err != nil {
			return err
		}
		frozen, err := g.frozen()
		if err != nil || frozen {
			return err
		}
		if !g.info.Unified && try%50 == 0 {
			if err := g.Thaw(); err != nil {
				return err
			}
		}
		if err := pause.wait(); err != nil {
			return err
		}
	}
}

// Thaw lets the processes run again. A group that is gone is thawed.
func (g *Group) Thaw() error {
	dir, file, value, err := g.freezer(false)
	if err == nil {
		err = writeFile(dir, file, value)
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("thaw cgroup %s: %w", g.path, err)
	}
	return nil
}

func (g *Group) freezer(freeze bool) (dir, file, value string, err error) {
	if g.info.Unified {
		return g.v2, "cgroup.freeze", map[bool]string{true: "1", false: "0"}[freeze], nil
	}
	if dir = g.dir("freezer"); dir == "" {
		return "", "", "", errors.New("no freezer controller is mounted as cgroup v1 on this host")
	}
	return dir, "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}[freeze], nil
}

// Frozen tells whether whoever enters the group would stop at once, because
// the group or one above it is frozen or about to be. An exec asks before it
// starts anything. A group that is gone is not frozen.
func (g *Group) Frozen() (bool, error) {
	frozen, err := g.asked()
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read state of cgroup %s: %w", g.path, err)
	}
	return frozen, nil
}

func (g *Group) asked() (bool, error) {
	if !g.info.Unified {
		dir, file, _, err := g.freezer(false)
		if err != nil {
			return false, nil // nothing here can freeze it
		}
		state, err := readFile(dir, file)
		return strings.TrimSpace(state) != "THAWED" && err == nil, err
	}
	text, err := readFile(g.v2, "cgroup.freeze")
	if err != nil || strings.TrimSpace(text) == "1" {
		return err == nil, err
	}
	return g.frozen()
}

// frozen tells whether everybody has stopped.
func (g *Group) frozen() (bool, error) {
	if g.info.Unified {
		text, err := readFile(g.v2, "cgroup.events")
		return field(text, "frozen") == 1, err
	}
	state, err := readFile(g.dir("freezer"), "freezer.state")
	return strings.TrimSpace(state) == "FROZEN", err
}

// pause waits between two looks at something that the kernel does not report.
type pause struct {
	ctx   context.Context
	delay time.Duration
}

func newPause(ctx context.Context) *pause { return &pause{ctx, 50 * time.Microsecond} }

// wait returns early, with the reason, when the context ends.
func (p *pause) wait() error {
	timer := time.NewTimer(p.delay)
	defer timer.Stop()
	p.delay = min(2*p.delay, 10*time.Millisecond)
	select {
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	case <-timer.C:
		return nil
	}
}
