// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// ControlSocket is the name of the control socket in the instance directory.
// It is for our own programs; each connection is one question, a line, and
// its answer, which ends with the connection:
//
//	launcher  -> retire\n             the server was started from another build
//	          <- ok\n                 nobody needs it: it exits
//	          <- busy\n               it has containers, or a caller that may be about to bring one
//	launcher  -> listen\n             nobody answers at the task socket: somebody has removed it
//	          <- ok\n                 it is there again
//	          <- error TEXT\n
//	foundry-  -> delete NS ID\n       containerd called `delete`, and there is no foundry.exit
//	delete    <- ok\n DeleteResponse  killed, deleted
//	          <- none\n               not known here
//	          <- error TEXT\n
//	anybody   -> status\n
//	          <- key=value lines
const ControlSocket = "control.sock"

const (
	quiet       = 10 * time.Second // since the last accepted connection: then nobody is about to call
	controlTime = 15 * time.Second // for a connection, from its accept to its end
	forcedDrain = 500 * time.Millisecond
	forcedTime  = 3500 * time.Millisecond // containerd gives `delete` 5 s in all, and it takes 4
)

// Control answers on the control socket.
type Control struct {
	Service *Service
	// Accepted says when the last task connection was accepted.
	Accepted func() time.Time
	// Retire stops the server; it is called after "ok" is on its way.
	Retire func()
	// Listen makes the task socket anew.
	Listen func() error

	retired func() // keeps the connection to the end of the process; tests return
}

// Listen makes the control socket, open to this user only.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	// Whoever connects before this finds the uid check in its way.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// Serve answers until l is closed.
func (c *Control) Serve(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: somebody will give some back
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go c.answer(conn)
	}
}

func (c *Control) answer(conn *net.UnixConn) {
	defer conn.Close()
	if !sameUser(conn) {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(controlTime))
	line, err := bufio.NewReaderSize(conn, 1024).ReadString('\n')
	if err != nil {
		return
	}
	words := strings.Fields(line)
	switch {
	case len(words) == 1 && words[0] == "retire":
		c.retire(conn)
	case len(words) == 1 && words[0] == "listen":
		c.listen(conn)
	case len(words) == 1 && words[0] == "status":
		fmt.Fprint(conn, c.Service.Status())
	case len(words) == 3 && words[0] == "delete":
		_, _ = conn.Write(c.forceDelete(Key{words[1], words[2]}))
	default:
		fmt.Fprintf(conn, "error unknown request %q\n", line)
	}
}

// sameUser is the check that ttrpc makes for the task socket.
func sameUser(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return err == nil && credErr == nil && int(cred.Uid) == os.Geteuid()
}

// retire answers, and on "ok" keeps the connection open to the end of the
// process, which is what the launcher waits for.
func (c *Control) retire(conn *net.UnixConn) {
	if c.Service.Containers() > 0 || time.Since(c.Accepted()) < quiet {
		fmt.Fprint(conn, "busy\n")
		return
	}
	fmt.Fprint(conn, "ok\n")
	c.Retire()
	if c.retired == nil {
		select {}
	}
	c.retired()
}

func (c *Control) listen(conn *net.UnixConn) {
	if err := c.Listen(); err != nil {
		fmt.Fprintf(conn, "error %v\n", err)
		return
	}
	fmt.Fprint(conn, "ok\n")
}

// forceDelete ends a container that containerd has given up.
func (c *Control) forceDelete(k Key) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), forcedTime)
	defer cancel()
	p, err := c.Service.forceDelete(ctx, k)
	if errors.Is(err, errNoContainer) {
		return []byte("none\n")
	}
	var data []byte
	if err == nil {
		data, err = proto.Marshal(deleteResponse(p))
	}
	if err != nil {
		return fmt.Appendf(nil, "error %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return append([]byte("ok\n"), data...)
}

// forceDelete kills and deletes a container whatever it is doing.
func (s *Service) forceDelete(ctx context.Context, k Key) (Proc, error) {
	c := s.table.get(k)
	if c == nil {
		return Proc{}, errNoContainer
	}
	if !c.visible() {
		if err := c.abort(ctx); err != nil {
			return Proc{}, err
		}
		if !c.visible() {
			return Proc{}, errNoContainer
		}
	}
	defer c.removing()()
	if err := c.end(ctx); err != nil {
		return Proc{}, err
	}
	return s.remove(ctx, c, forcedDrain)
}

// Status is what an operator, or a test, wants to know: key=value lines.
func (s *Service) Status() string {
	st := s.pump.Stats()
	queued, lost := s.pub.Backlog()
	return fmt.Sprintf("pid=%d\ncontainers=%d\nevents_queued=%d\nevents_lost=%d\nstreams=%d\nbytes_moved=%d\nbytes_lost=%d\nbytes_kept=%d\n",
		os.Getpid(), s.Containers(), queued, lost, st.Streams, st.Moved, st.Lost, st.Kept)
}

// Listener notes when connections are accepted. A connection that is asked
// for but not accepted yet is not seen, which is why `start` holds its lock.
type Listener struct {
	net.Listener
	last *atomic.Int64 // shared with those that Also made
}

// NewListener wraps l; it counts as just used.
func NewListener(l net.Listener) *Listener {
	w := &Listener{Listener: l, last: &atomic.Int64{}}
	w.last.Store(time.Now().UnixNano())
	return w
}

// Also wraps one more listener; Accepted tells of both.
func (l *Listener) Also(more net.Listener) *Listener {
	return &Listener{Listener: more, last: l.last}
}

// Accept is that of a net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.last.Store(time.Now().UnixNano())
	}
	return conn, err
}

// Accepted is the time of the last accept.
func (l *Listener) Accepted() time.Time { return time.Unix(0, l.last.Load()) }
