// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/runtime/oci"
	"foundry/runtime/spawn"
)

// agentTime bounds what an agent may take to accept a listener.
const agentTime = 10 * time.Second

// listener says who answers for the system calls that a filter asks about. The
// zero value is a filter that asks about none.
type listener struct {
	path, metadata string // of an agent's socket, and what to tell it
	own            string // value of oci.AgentAnnotation, when there is no path
}

// listenerOf is who answers for a spec's profile; package oci has made sure that
// somebody does.
func listenerOf(spec *specs.Spec) listener {
	if s := spec.Linux.Seccomp; s.ListenerPath != "" {
		return listener{path: s.ListenerPath, metadata: s.ListenerMetadata}
	}
	return listener{own: spec.Annotations[oci.AgentAnnotation]}
}

// check makes sure that there is an agent while Create can still fail. A socket
// of another kind cannot connect to it, but finds out whether somebody is there,
// and the agent hears nothing of that.
func (l listener) check() error {
	if l.path == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: l.path})
	if errors.Is(err, unix.EPROTOTYPE) {
		return nil
	}
	if err == nil {
		err = errors.New("not a stream socket")
	}
	return fmt.Errorf("find seccomp agent %s: %w (linux.seccomp.listenerPath)", l.path, err)
}

// onListener returns what is done where p, a process of the container, stops
// for its filter's listener to be taken.
func (c *Container) onListener(ctx context.Context, p *Process) func(spawn.Point) error {
	return func(point spawn.Point) error {
		if point != spawn.PointListener {
			return p.unexpected(point)
		}
		file, err := p.proc.Listener(ctx)
		if err != nil {
			return err
		}
		// First of all, for it waits without resting.
		if err := p.proc.Go(); err != nil {
			return errors.Join(err, file.Close())
		}
		return c.handOver(ctx, p, file)
	}
}

// handOver gives the listener of p to the agent.
func (c *Container) handOver(ctx context.Context, p *Process, file *os.File) error {
	if c.listener.own != "" {
		return c.rt.agent.watch(file, c.name, c.listener.own == "deny")
	}
	defer file.Close()
	status := specs.StateRunning
	if p == c.init || !c.running.Load() {
		status = specs.StateCreated
	}
	state := hookState(c.spec, c.name.id, c.bundle, status, c.Pid())
	if err := c.listener.send(ctx, file, p.Pid(), state); err != nil {
		return fmt.Errorf("give the listener to seccomp agent %s: %w", c.listener.path, err)
	}
	return nil
}

// send tells the agent of a process and gives it the descriptor with the first
// bytes.
func (l listener) send(ctx context.Context, file *os.File, pid int, state specs.State) error {
	text, err := json.Marshal(specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: l.metadata, State: state,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	n, _, err := conn.WriteMsgUnix(text, unix.UnixRights(int(file.Fd())), nil)
	if err == nil && n < len(text) {
		_, err = conn.Write(text[n:])
	}
	return err
}

// dial waits for an agent that has not accepted earlier connections yet, of
// which the kernel holds a few.
func (l listener) dial(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", l.path)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		if !errors.Is(err, unix.EAGAIN) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}
