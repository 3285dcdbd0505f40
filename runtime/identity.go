// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// isDead looks at the process itself, which is ahead of the news of its exit.
func (p *Process) isDead() bool { return errors.Is(p.proc.Signal(0), os.ErrProcessDone) }

// startTime is when a process was started, in clock ticks after boot. With the
// pid it names a process for as long as the host is up.
func startTime(pid int) (uint64, error) {
	file := "/proc/" + strconv.Itoa(pid) + "/stat"
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	// The second field is the program's name, in parentheses, and may hold any.
	_, rest, ok := bytes.Cut(data[max(0, bytes.LastIndexByte(data, ')')):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("read %s: not in its known form", file)
	}
	n, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// innerPid is the number that a process has in its own pid namespace.
func innerPid(pid int) (int, error) {
	file := "/proc/" + strconv.Itoa(pid) + "/status"
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if numbers, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			f := bytes.Fields(numbers)
			if len(f) == 0 {
				break
			}
			return strconv.Atoi(string(f[len(f)-1]))
		}
	}
	return 0, fmt.Errorf("read %s: it has no NSpid", file)
}

// endProcess kills process pid, if same says that it is the one meant, and
// waits until it is dead. same is asked after the pidfd was opened: the answer
// holds for what the pidfd refers to.
func endProcess(ctx context.Context, pid int, same func() bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if !same() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err == unix.ESRCH {
		return nil
	} else if err != nil {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return waitDead(ctx, fd, pid)
}

// waitDead returns when the process of a pidfd is dead, be it reaped or not.
func waitDead(ctx context.Context, fd, pid int) error {
	for {
		const slice = 20 * time.Millisecond // how late the end of ctx is seen
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, int(slice.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for process %d: poll: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for process %d: %w", pid, context.Cause(ctx))
		}
	}
}
