// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openPty returns both ends of a pty in raw mode, as files outside Go's poller.
func openPty(t testing.TB) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	sfd, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	slave = os.NewFile(uintptr(sfd), "pts")
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func makeRaw(t testing.TB, tty *os.File) {
	t.Helper()
	tio, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	tio.Iflag, tio.Oflag = 0, 0
	tio.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, tio); err != nil {
		t.Fatal(err)
	}
}

func TestTerminalEcho(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdin: fifo(t, "stdin"), Stdout: fifo(t, "stdout"), Terminal: true}
	x := testOpen(t, p, cfg)
	if err := x.Resize(132, 43); err != nil { // before there is a terminal
		t.Fatal(err)
	}
	master, slave := openPty(t)
	if err := x.Start(master); err != nil {
		t.Fatal(err)
	}
	r := reader(t, cfg.Stdout)
	write(t, writer(t, cfg.Stdin), "hello\n")
	if got, want := readN(t, r, 7), "hello\r\n"; got != want {
		t.Errorf("echo: got %q, want %q", got, want)
	}
	if got, want := readN(t, slave, 6), "hello\n"; got != want {
		t.Errorf("stdin: got %q, want %q", got, want)
	}
	for i := range 2 {
		ws, err := unix.IoctlGetWinsize(int(slave.Fd()), unix.TIOCGWINSZ)
		if err != nil || int(ws.Col) != 132+i || int(ws.Row) != 43+i {
			t.Errorf("size: got %+v, %v, want %dx%d", ws, err, 132+i, 43+i)
		}
		if err := x.Resize(133, 44); err != nil {
			t.Error(err)
		}
	}
	write(t, slave, "bye\n")
	if err := x.CloseStdin(); err != nil { // the terminal stays
		t.Error(err)
	}
	write(t, slave, "bye\n")
	slave.Close()
	drain(t, x)
	if got, want := readAll(t, r), "bye\r\nbye\r\n"; got != want {
		t.Errorf("output: got %q, want %q", got, want)
	}
}

// A terminal whose client does not read blocks its process, no other one, and
// loses nothing.
func TestTerminalBackPressure(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdout: fifo(t, "stdout"), Terminal: true}
	x := testOpen(t, p, cfg)
	master, slave := openPty(t)
	makeRaw(t, slave)
	if err := x.Start(master); err != nil {
		t.Fatal(err)
	}
	const n = 1 << 20
	sent := make(chan sum, 1)
	go func() {
		hash, err := blurt(slave, n, 9)
		sent <- sum{hash, err}
	}()
	eventually(t, "fifo full", func() bool { return full(x.outputs[0].dst) })
	got := hashOf(reader(t, cfg.Stdout))
	if want := <-sent; got != want {
		t.Errorf("hash: got %v, want %v", got, want)
	}
	drain(t, x)
}

// Stdin into a terminal that takes no more waits, and is complete later.
func TestTerminalStdinWaits(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdin: fifo(t, "stdin"), Stdout: fifo(t, "stdout"), Terminal: true}
	x := testOpen(t, p, cfg)
	master, slave := openPty(t)
	makeRaw(t, slave)
	if err := x.Start(master); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 1<<20/16)
	go writer(t, cfg.Stdin).WriteString(text)
	if got := readN(t, slave, len(text)); got != text {
		t.Error("stdin is not what was written")
	}
}

func TestTerminalToNothingAndFile(t *testing.T) {
	p := testPump(t)
	path := filepath.Join(t.TempDir(), "a", "log")
	for _, uri := range []string{"", "file://" + path} {
		x := testOpen(t, p, Config{Stdout: uri, Terminal: true})
		master, slave := openPty(t)
		makeRaw(t, slave)
		if err := x.Start(master); err != nil {
			t.Fatal(err)
		}
		write(t, slave, strings.Repeat("0123456789abcdef", 1<<20/16))
		slave.Close()
		drain(t, x)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != 1<<20 {
		t.Errorf("log file: got %v, %v, want 1 MiB", st, err)
	}
}

func TestStartChecksMaster(t *testing.T) {
	p := testPump(t)
	master, _ := openPty(t)
	x := testOpen(t, p, Config{Stdout: fifo(t, "stdout")})
	if err := x.Start(master); err == nil {
		t.Error("Start with a master, but no terminal: no error")
	}
	if err := master.Close(); err == nil {
		t.Error("master was left open")
	}
	x = testOpen(t, p, Config{Stdout: fifo(t, "stdout"), Terminal: true})
	if err := x.Start(nil); err == nil {
		t.Error("Start without a master: no error")
	}
}
