// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// ErrNoSystemd means that a path asks for systemd on a host without it.
var ErrNoSystemd = errors.New("systemd does not run this host: /run/systemd/system is missing " +
	"(set SystemdCgroup = false, or a cgroupsPath like /foundry/web-1)")

// busTime bounds what systemd is asked to do. A job waits for others, such as
// a daemon-reload of a large host.
const busTime = 30 * time.Second

// bus is the connection to systemd. All groups of an Info share it; it is made
// when the first of them needs it, and again when it was lost.
type bus struct {
	mu      sync.Mutex // guards conn and release
	conn    *systemd.Conn
	release int // of systemd: 252

	kills kills
}

// call runs fn with the connection, a second time with a new one when the
// first turns out to be dead: systemd or the bus was restarted.
func (b *bus) call(fn func(context.Context, *systemd.Conn) error) error {
	if b == nil {
		return ErrNoSystemd
	}
	ctx, cancel := context.WithTimeout(context.Background(), busTime)
	defer cancel()
	for first := true; ; first = false {
		conn, err := b.connect()
		if err != nil {
			return err
		}
		err = fn(ctx, conn)
		if err == nil || !first || conn.Connected() && !errors.Is(err, dbus.ErrClosed) {
			return err
		}
		b.drop(conn)
	}
}

func (b *bus) connect() (*systemd.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		return b.conn, nil
	}
	if st, err := os.Lstat("/run/systemd/system"); err != nil || !st.IsDir() {
		return nil, ErrNoSystemd
	}
	// The context of a connection ends it, so that of a request will not do.
	conn, err := systemd.NewWithContext(context.Background())
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w (needs /run/dbus/system_bus_socket or /run/systemd/private)", err)
	}
	if b.release == 0 {
		if b.release, err = releaseOf(conn); err != nil {
			conn.Close()
			return nil, fmt.Errorf("ask systemd for its version: %w", err)
		}
	}
	b.conn = conn
	return conn, nil
}

func (b *bus) drop(conn *systemd.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == conn {
		b.conn = nil
		conn.Close()
	}
}

func (b *bus) version() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.release
}

// releaseOf finds 252 in "252.39-1~deb12u2" or "v252-18.el9", as a quoted string.
func releaseOf(conn *systemd.Conn) (int, error) {
	text, err := conn.GetManagerProperty("Version")
	if err != nil {
		return 0, err
	}
	text = strings.TrimLeft(text, `"v`)
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	return strconv.Atoi(text)
}

// job starts something that systemd finishes later, and waits for that.
func (b *bus) job(start func(context.Context, *systemd.Conn, chan<- string) error) error {
	return b.call(func(ctx context.Context, conn *systemd.Conn) error {
		done := make(chan string, 1)
		if err := start(ctx, conn, done); err != nil {
			return err
		}
		select {
		case result := <-done:
			if result != "done" {
				return fmt.Errorf("the job ended with %q", result)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("no answer within %v: %w", busTime, context.Cause(ctx))
		}
	})
}

// startUnit makes a scope. One of that name that failed earlier is forgotten.
func (b *bus) startUnit(name string, props []systemd.Property) error {
	start := func() error {
		return b.job(func(ctx context.Context, conn *systemd.Conn, done chan<- string) error {
			_, err := conn.StartTransientUnitContext(ctx, name, "replace", props, done)
			return err
		})
	}
	err := start()
	if isBusError(err, "UnitExists") {
		b.forget(name)
		err = start()
	}
	if isBusError(err, "UnitExists") {
		return fmt.Errorf("start unit %s: %w (stop it, or set another cgroupsPath)", name, err)
	}
	if err != nil {
		return fmt.Errorf("start unit %s: %w", name, err)
	}
	return nil
}

// stopUnit ends a scope and what is in it. Absent is success.
func (b *bus) stopUnit(name string) error {
	err := b.job(func(ctx context.Context, conn *systemd.Conn, done chan<- string) error {
		_, err := conn.StopUnitContext(ctx, name, "replace", done)
		return err
	})
	if err != nil && !isBusError(err, "NoSuchUnit") {
		return fmt.Errorf("stop unit %s: %w", name, err)
	}
	b.forget(name)
	return nil
}

// forget has systemd drop a unit that failed: one whose process was killed for
// want of memory, say. Most have not, and systemd says so.
func (b *bus) forget(name string) {
	_ = b.call(func(ctx context.Context, conn *systemd.Conn) error { return conn.ResetFailedUnitContext(ctx, name) })
}

func (b *bus) setProperties(name string, props []systemd.Property) error {
	err := b.call(func(ctx context.Context, conn *systemd.Conn) error {
		return conn.SetUnitPropertiesContext(ctx, name, true, props...)
	})
	if err != nil {
		return fmt.Errorf("set properties of unit %s: %w", name, err)
	}
	return nil
}

func isBusError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == "org.freedesktop.systemd1."+name
}

// nothing only connects.
func nothing(context.Context, *systemd.Conn) error { return nil }
