// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// criuRun is one request to criu: `criu swrk 3` is started as a helper, with the
// other end of a socket as its descriptor 3, and answers there (https://criu.org/RPC).
type criuRun struct {
	// start starts criu with these arguments and files, and returns when it runs.
	start func(ctx context.Context, h HelperConfig) (*Process, error)
	// notify is called at the named points of a restore, with the number of
	// init; criu goes on when it returns, and gives up when it fails.
	notify func(script string, pid int) error
	extra  []*os.File // criu's descriptors from 4 on
	log    string     // the file that criu writes, "" for none
}

// findCriu is where criu is. It is no part of us: a host without it lacks
// checkpoints and nothing else.
func findCriu() (string, error) {
	for _, name := range []string{"criu", "/usr/sbin/criu", "/usr/local/sbin/criu"} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", withKind(ErrUnsupported, errors.New("criu is not installed (install criu >= 3.17, in a directory of the server's PATH)"))
}

// do has criu carry out a request.
func (r *criuRun) do(ctx context.Context, req *rpc.CriuReq) (*rpc.CriuResp, error) {
	path, err := findCriu()
	if err != nil {
		return nil, err
	}
	ours, theirs, err := criuSocket()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	out, err := newTail(hookOutput)
	if err != nil {
		return nil, err
	}
	defer out.close()
	files := append([]*os.File{nil, out.w, out.w, theirs}, r.extra...)
	p, err := r.start(ctx, HelperConfig{Path: path, Args: []string{"criu", "swrk", "3"}, Env: []string{hookPath}, Files: files})
	if err != nil {
		return nil, fmt.Errorf("start criu: %w", err)
	}
	defer p.Close()
	theirs.Close()
	out.start()
	resp, err := r.talk(ctx, ours, req)
	ours.Close()               // tells criu to leave
	_ = p.Signal(unix.SIGTERM) // should it wait for something else
	kill := context.AfterFunc(ctx, func() { _ = p.Signal(unix.SIGKILL) })
	defer kill()
	<-p.child.done
	if err != nil {
		err = fmt.Errorf("%w%s", err, criuSays(r.log, out.finish()))
	}
	return resp, err
}

// criuSocket makes a pair of sockets that keep messages apart: ours, and the
// one for criu.
func criuSocket() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	file := os.NewFile(uintptr(fds[0]), "criu")
	defer file.Close()
	theirs := os.NewFile(uintptr(fds[1]), "criu")
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}

// maxCriuMessage is more than any answer of criu's, which hold no data.
const maxCriuMessage = 64 << 10

// talk sends req and answers notifications until the response comes.
func (r *criuRun) talk(ctx context.Context, conn *net.UnixConn, req *rpc.CriuReq) (*rpc.CriuResp, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxCriuMessage)
	for {
		resp, err := exchange(conn, req, buf)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("ask criu: %w", err)
		}
		if !resp.GetSuccess() {
			return resp, refusal(resp)
		}
		if resp.GetType() != rpc.CriuReqType_NOTIFY {
			return resp, nil
		}
		if err := r.told(resp.GetNotify()); err != nil {
			return nil, err
		}
		req = &rpc.CriuReq{Type: rpc.CriuReqType_NOTIFY.Enum(), NotifySuccess: proto.Bool(true)}
	}
}

// told passes a notification on, if there is anybody to take it.
func (r *criuRun) told(n *rpc.CriuNotify) error {
	if r.notify == nil {
		return nil
	}
	return r.notify(n.GetScript(), int(n.GetPid()))
}

// refusal is what a response of criu says of its failure, often nothing.
func refusal(resp *rpc.CriuResp) error {
	switch {
	case resp.GetCrErrmsg() != "":
		return fmt.Errorf("criu refuses: %s", strings.TrimSpace(resp.GetCrErrmsg()))
	case resp.GetCrErrno() != 0:
		return fmt.Errorf("criu refuses: %w", unix.Errno(resp.GetCrErrno()))
	}
	return errors.New("criu refuses")
}

func exchange(conn *net.UnixConn, req *rpc.CriuReq, buf []byte) (*rpc.CriuResp, error) {
	msg, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	n, err := conn.Read(buf)
	if err != nil {
		return nil, err
	}
	resp := &rpc.CriuResp{}
	return resp, resp.UnmarshalVT(buf[:n])
}

// criuSays is what criu's log, or else its output, tells of its failure: the first
// error, which the later ones follow from.
func criuSays(log, output string) string {
	lines := strings.Split(output, "\n")
	if f, err := os.Open(log); err == nil {
		defer f.Close()
		lines = nil
		for s := bufio.NewScanner(f); s.Scan(); {
			lines = append(lines, s.Text())
		}
	}
	i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "Error") })
	switch {
	case i < 0:
		return ""
	case log == "":
		return ": " + strings.TrimSpace(lines[i])
	}
	return fmt.Sprintf(": %s (see %s)", strings.TrimSpace(lines[i]), log)
}

// explainCriu tells a kernel on which this criu cannot work at all from a
// failure that concerns one container.
func (c *Container) explainCriu(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrUnsupported) {
		return err
	}
	dir, failed := os.Open(c.bundle)
	if failed != nil {
		return err
	}
	defer dir.Close()
	check := criuRun{start: c.startCriu}
	_, why := check.do(ctx, &rpc.CriuReq{Type: rpc.CriuReqType_CHECK.Enum(), Opts: &rpc.CriuOpts{ImagesDirFd: proto.Int32(int32(dir.Fd()))}})
	if why == nil {
		return err
	}
	return withKind(ErrUnsupported, fmt.Errorf("criu does not work on this kernel: %w; %w", why, err))
}

// startCriu starts criu as a helper of the container.
func (c *Container) startCriu(ctx context.Context, h HelperConfig) (*Process, error) {
	p, err := c.rt.helper(ctx, c.keys, h)
	if err == nil {
		p.child.arm(c.rt.deliver(nil, nothingStored))
	}
	return p, err
}
