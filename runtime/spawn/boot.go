// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:generate make -C c

// spawnerBinary is what the sources in c give; `make -C c verify` proves it.
//
//go:embed spawner_linux_amd64
var spawnerBinary []byte

// What the server inherits.
const (
	serverConn  = 3
	serverSlots = 4
	serverReady = 5
)

// DefaultSlots is how many processes a spawner can have at once when
// BootConfig does not say.
const DefaultSlots = 8191

// BootConfig says what Boot turns the calling process into.
type BootConfig struct {
	Slots     string   // path of the slot file, which must not exist
	SlotCount int      // 0: DefaultSlots
	Server    []string // absolute path of the server and its arguments
	Ready     *os.File // what the server inherits as its ready pipe
}

// Boot makes the calling process the spawner: it executes it in place, and the
// spawner starts the server. Boot returns only if it fails, and has then
// removed the slot file.
func Boot(cfg BootConfig) (err error) {
	slots, err := makeSlots(cfg)
	if err != nil {
		return fmt.Errorf("boot spawner: %w", err)
	}
	defer func() { err = errors.Join(err, slots.Close(), os.Remove(cfg.Slots)) }()
	program, err := executable(spawnerBinary)
	if err != nil {
		return fmt.Errorf("boot spawner: %w", err)
	}
	defer program.Close()
	for _, f := range []*os.File{slots, cfg.Ready} {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("boot spawner: pass %s on: %w", f.Name(), err)
		}
	}
	argv := append([]string{"foundry-spawner", "-serve", fdArg(slots), fdArg(cfg.Ready), "--"}, cfg.Server...)
	err = syscall.Exec(fdPath(program), argv, os.Environ())
	return fmt.Errorf("boot spawner: exec: %w", err)
}

func fdArg(f *os.File) string  { return strconv.Itoa(int(f.Fd())) }
func fdPath(f *os.File) string { return "/proc/self/fd/" + fdArg(f) }

func makeSlots(cfg BootConfig) (*os.File, error) {
	n := cfg.SlotCount
	if n == 0 {
		n = DefaultSlots
	}
	f, err := os.OpenFile(cfg.Slots, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(int64(n+1) * slotSize); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(cfg.Slots))
	}
	return f, nil
}

// executable returns a descriptor of program that nobody can write to: a
// container sees it as /proc/PID/exe of its parent.
func executable(program []byte) (*os.File, error) {
	f, err := sealed("foundry-spawner", program, unix.MFD_EXEC)
	if !errors.Is(err, unix.EACCES) { // vm.memfd_noexec=2 refuses
		return f, err
	}
	return onReadOnlyMount(program)
}

// onReadOnlyMount puts program on a file system of its own, which is mounted
// nowhere and read-only.
func onReadOnlyMount(program []byte) (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen tmpfs", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("fsconfig tmpfs", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, os.NewSyscallError("fsmount tmpfs", err)
	}
	defer unix.Close(mnt)
	const name = "foundry-spawner"
	fd, err := unix.Openat(mnt, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o500)
	if err != nil {
		return nil, os.NewSyscallError("create spawner", err)
	}
	w := os.NewFile(uintptr(fd), name)
	if _, err := w.Write(program); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return nil, os.NewSyscallError("mount_setattr", err)
	}
	fd, err = unix.Openat(mnt, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open spawner", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Inherited returns what a server that the spawner has started finds open: the
// connection and the slots for NewClient, and the ready pipe, into which it
// writes "ok\n" or why it cannot serve.
func Inherited() (conn, slots, ready *os.File, err error) {
	kind, err := unix.GetsockoptInt(serverConn, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, nil, nil, fmt.Errorf("inherit from spawner: descriptor %d is not its socket: start the server with `foundryd boot`", serverConn)
	}
	for fd := serverConn; fd <= serverReady; fd++ {
		unix.CloseOnExec(fd)
	}
	return os.NewFile(serverConn, "spawner"), os.NewFile(serverSlots, "slots"), os.NewFile(serverReady, "ready"), nil
}
