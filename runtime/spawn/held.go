// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// AllTags has Drop drop everything of a key.
const AllTags = ^uint64(0)

// Held is what the spawner keeps for a server to come, under one key and tag,
// in the order in which it was given.
type Held struct {
	Key, Tag uint64
	Files    []*os.File
}

// Hold has the spawner keep duplicates of files until they are dropped, or it
// ends.
func (c *Client) Hold(key, tag uint64, files ...*os.File) error {
	for len(files) > 0 {
		n := min(len(files), maxFDs)
		m := msg{Type: msgHold, Key: key}
		m.Arg[0] = tag
		err := c.withFDs(files[:n], func(fds []int) error { return c.order(context.Background(), &m, fds) })
		if err != nil {
			return fmt.Errorf("hold descriptors of %d: %w", key, err)
		}
		files = files[n:]
	}
	return nil
}

// Drop has the spawner close what it holds under key and tag. It has done so
// when Drop returns.
func (c *Client) Drop(key, tag uint64) error {
	m := msg{Type: msgDrop, Key: key}
	m.Arg[0] = tag
	if err := c.order(context.Background(), &m, nil); err != nil {
		return fmt.Errorf("drop descriptors of %d: %w", key, err)
	}
	return nil
}

// order sends m and waits for the word that it is done.
func (c *Client) order(ctx context.Context, m *msg, fds []int) error {
	r, err := c.ask(ctx, m, fds, nil)
	if err != nil {
		return err
	}
	closeFiles(r.files)
	return r.err()
}

// Fetch returns duplicates of all that the spawner holds.
func (c *Client) Fetch(ctx context.Context) (held []Held, err error) {
	defer func() {
		if err != nil {
			for _, h := range held {
				closeFiles(h.Files)
			}
			held = nil
		}
	}()
	for cursor := uint64(0); ; {
		m := msg{Type: msgFetch}
		m.Arg[0] = cursor
		r, err := c.ask(ctx, &m, nil, nil)
		if err == nil {
			err = r.err()
		}
		if err != nil {
			closeFiles(r.files)
			return held, fmt.Errorf("fetch held descriptors: %w", err)
		}
		if r.m.Type == msgDone {
			return held, nil
		}
		held = merge(held, Held{Key: r.m.Key, Tag: r.m.Arg[0], Files: r.files})
		cursor = r.m.Arg[1]
	}
}

// merge adds a page to what of the same key and tag came before it.
func merge(held []Held, page Held) []Held {
	for i := range held {
		if held[i].Key == page.Key && held[i].Tag == page.Tag {
			held[i].Files = append(held[i].Files, page.Files...)
			return held
		}
	}
	return append(held, page)
}

// Listed is a slot in use: a process that lives, with its pidfd, or an exit
// that nobody has acknowledged.
type Listed struct {
	Key    uint64
	Slot   uint32
	Pid    int
	Helper bool
	Pidfd  *os.File // nil: it has ended
	Exit   Exit
}

// List returns the slots in use, for a server that takes over.
func (c *Client) List(ctx context.Context) (list []Listed, err error) {
	for slot := uint32(0); ; slot++ {
		m := msg{Type: msgList}
		m.Arg[0] = uint64(slot)
		r, err := c.ask(ctx, &m, nil, nil)
		if err == nil {
			err = r.err()
		}
		if err != nil {
			closeFiles(r.files)
			for _, l := range list {
				if l.Pidfd != nil {
					err = errors.Join(err, l.Pidfd.Close())
				}
			}
			return nil, fmt.Errorf("list processes: %w", err)
		}
		if r.m.Type == msgDone {
			return list, nil
		}
		slot = r.m.Slot
		l := Listed{Key: r.m.Key, Slot: slot, Pid: int(r.m.Pid), Helper: r.m.Flags&spawnHelper != 0}
		if r.m.Type == msgExited {
			l.Exit = exitOf(&r.m)
		} else if len(r.files) == 1 {
			l.Pidfd = r.files[0]
		}
		list = append(list, l)
	}
}
