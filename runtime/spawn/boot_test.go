// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary plays foundryd: its first argument is the part.
func TestMain(m *testing.M) {
	switch part := os.Getenv("FOUNDRY_TEST_PART"); part {
	case "":
		os.Exit(m.Run())
	case "boot":
		os.Setenv("FOUNDRY_TEST_PART", "serve")
		err := Boot(BootConfig{Slots: os.Getenv("FOUNDRY_TEST_SLOTS"), SlotCount: 8, Server: strings.Fields(os.Getenv("FOUNDRY_TEST_SERVER")), Ready: os.NewFile(3, "ready")})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case "serve":
		if err := playServer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "sibling":
		playRestorer()
	}
}

// playServer runs one process and tells what it sees.
func playServer() error {
	conn, slots, ready, err := Inherited()
	if err != nil {
		return err
	}
	exits := make(chan Exit, 1)
	c, err := NewClient(conn, slots, func(e Exit) { exits <- e })
	if err != nil {
		return err
	}
	p, err := c.Spawn(context.Background(), Request{Key: 1, Plan: hostPlan("sh", "-c", "exit 42")})
	if err != nil {
		return err
	}
	e := <-exits
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	limit, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return err
	}
	fmt.Fprintf(ready, "status %d, parent is spawner %v, %d low fds, oom %s", e.Status, c.Pid() == os.Getppid(), lowest(fds), limit)
	return p.Close()
}

// lowest counts the descriptors that the server found open: no others may be.
func lowest(fds []os.DirEntry) int {
	n := 0
	for _, f := range fds {
		if len(f.Name()) == 1 && f.Name() < "6" {
			n++
		}
	}
	return n
}

func boot(t *testing.T, server string) (line string, slots string) {
	t.Helper()
	requireRoot(t)
	slots = filepath.Join(t.TempDir(), "slots")
	r, ready, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FOUNDRY_TEST_PART=boot", "FOUNDRY_TEST_SLOTS="+slots, "FOUNDRY_TEST_SERVER="+server)
	cmd.ExtraFiles = []*os.File{ready}
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	ready.Close()
	line, err = bufio.NewReader(r).ReadString('\n')
	if err != nil && err != io.EOF {
		t.Error(err)
	}
	// The spawner leaves by itself: its server has ended and no process lives.
	if err := cmd.Wait(); err != nil {
		t.Errorf("spawner: %v", err)
	}
	return line, slots
}

func TestBoot(t *testing.T) {
	line, slots := boot(t, os.Args[0])
	if want := "status 42, parent is spawner true, 6 low fds, oom " + hostOOMScore(t) + "\n"; !strings.HasPrefix(line, want[:len(want)-1]) {
		t.Errorf("server: got %q, want %q", line, want)
	}
	if e, ok, err := ReadExit(slots, 1); err != nil || !ok || e.Status != 42 {
		t.Errorf("ReadExit after the end of all: %+v, %v, %v", e, ok, err)
	}
}

func TestBootWithoutServer(t *testing.T) {
	line, _ := boot(t, "/nosuch/foundryd serve")
	if want := "start server: exec /nosuch/foundryd: No such file or directory\n"; line != want {
		t.Errorf("ready pipe: got %q, want %q", line, want)
	}
}

func TestBootTwice(t *testing.T) {
	slots := filepath.Join(t.TempDir(), "slots")
	must(t, os.WriteFile(slots, nil, 0o600))
	err := Boot(BootConfig{Slots: slots, Server: []string{"/nosuch"}, Ready: os.Stdin})
	if err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("got %v, want that the slot file exists", err)
	}
	if _, err := os.Stat(slots); err != nil {
		t.Errorf("the slot file of another was removed: %v", err)
	}
}

func TestInheritedWithoutSpawner(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FOUNDRY_TEST_PART=serve")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "start the server with `foundryd boot`") {
		t.Errorf("got %v, %s", err, out)
	}
}

// TestReadOnlyMount: where memfds may not be executed.
func TestReadOnlyMount(t *testing.T) {
	requireRoot(t)
	f, err := onReadOnlyMount(spawnerBinary)
	must(t, err)
	defer f.Close()
	if err := resumes(context.Background(), f); err != nil {
		t.Error(err)
	}
	if w, err := os.OpenFile(fdPath(f), os.O_WRONLY, 0); err == nil {
		w.Close()
		t.Error("the program can be written to")
	}
}
