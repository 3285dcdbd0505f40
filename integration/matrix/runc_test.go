// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

// limit is longer than any row takes.
func limit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second*env.Slowness())
}

// byRunc is `runc run`, which removes its container at the end, or `runc exec`
// in one that runs.
func byRunc(x *run) (result, error) {
	ctx, cancel := limit()
	defer cancel()
	runc := func(args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, x.runc, append([]string{"--root", filepath.Join(x.hall.dir, "runc")}, args...)...)
	}
	defer func() { _ = runc("delete", "--force", x.id).Run() }() // of what failed half way, too
	cmd := runc("run", "--bundle", x.dir, x.id)
	if x.row.exec != nil {
		if err := runc("run", "--detach", "--bundle", x.dir, x.id).Run(); err != nil {
			return result{failed: "init: " + err.Error()}, ctx.Err()
		}
		cmd = runc("exec", "--process", x.process(), x.id)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := x.capture(cmd)
	if !ended(out) {
		return result{failed: strings.TrimSpace(fmt.Sprintf("%s%s (%v)", said.Bytes(), out, err))}, ctx.Err()
	}
	return result{lines: append(x.normaliser().text(out), fmt.Sprintf("status %d", cmd.ProcessState.ExitCode()))}, nil
}

// ended says whether the probe came to its end.
func ended(out string) bool {
	return strings.Contains("\n"+strings.ReplaceAll(out, "\r", ""), "\nend\n")
}

// capture runs cmd with standard input at its end, or on a terminal if the row
// has one: runc copies between its own and the container's.
func (x *run) capture(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	if x.row.console == nil {
		cmd.Stdout = &out
		err := cmd.Run()
		return out.String(), err
	}
	master, slave, err := openTerminal(x.row.console)
	if err != nil {
		return "", err
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		slave.Close()
		return "", err
	}
	slave.Close()
	_, _ = io.Copy(&out, master) // EIO is the end
	err = cmd.Wait()
	return out.String(), err
}

// openTerminal returns both ends of a terminal that changes nothing.
func openTerminal(size *[2]uint16) (master, slave *os.File, err error) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(m), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock terminal: %w", err)
	}
	if err := unix.IoctlSetWinsize(m, unix.TIOCSWINSZ, &unix.Winsize{Row: size[0], Col: size[1]}); err != nil {
		return nil, nil, fmt.Errorf("size terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("name terminal: %w", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	return master, slave, err
}
