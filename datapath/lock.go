// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked is what the second gets who opens one instance.
var ErrLocked = errors.New("locked")

var errOurselves = errors.New("that is this process")

// ErrNoBPFFS is what a directory is refused with where nothing can be pinned.
var ErrNoBPFFS = errors.New("not on a bpffs: mount one there (mount -t bpf bpf /sys/fs/bpf), or name a directory on one")

// Dir is the directory of the instance, which it has locked.
func (d *Datapath) Dir() string { return d.dir }

// lockDir makes the directory of an instance and locks it. bpffs has no files
// to lock, but a directory of it can be. The lock goes with the process; the
// open directory also keeps what is pinned alive when somebody unmounts it.
func lockDir(dir string) (*os.File, error) {
	if err := onBPFFS(dir); err != nil {
		return nil, err
	}
	for {
		err := os.MkdirAll(dir, 0o700)
		var f *os.File
		if err == nil {
			f, err = os.Open(dir)
		}
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist) {
			continue // somebody purged it in between
		} else if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(lockError(f, err), f.Close())
		}
		if same, err := isAt(f, dir); same || err != nil {
			return f, err
		}
		f.Close() // purged in between, too
	}
}

// onBPFFS looks at the first directory that there is.
func onBPFFS(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		var s unix.Statfs_t
		err := unix.Statfs(at, &s)
		if errors.Is(err, unix.ENOENT) && at != filepath.Dir(at) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "statfs", Path: at, Err: err}
		}
		if s.Type != unix.BPF_FS_MAGIC {
			return fmt.Errorf("%s is %w", dir, ErrNoBPFFS)
		}
		return nil
	}
}

// isAt says whether a path still leads to an open directory.
func isAt(f *os.File, path string) (bool, error) {
	open, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, there), err
}

// lockError names who has the lock.
func lockError(f *os.File, err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	who := "another process"
	switch pid := holder(f); {
	case pid == os.Getpid():
		return fmt.Errorf("%s is %w by process %d: %w", f.Name(), ErrLocked, pid, errOurselves)
	case pid > 0:
		who = fmt.Sprintf("process %d", pid)
	}
	return fmt.Errorf("%s is %w by %s: stop it, or wait for its end", f.Name(), ErrLocked, who)
}

// holder is the process that has locked an open directory, if /proc tells.
func holder(f *os.File) (pid int) {
	var s unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(int(f.Fd()), &s) != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(s.Dev), unix.Minor(s.Dev), s.Ino)
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 4711 00:27:19134580 0 EOF
		if len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == file {
			fmt.Sscan(fields[4], &pid)
		}
	}
	return pid
}
