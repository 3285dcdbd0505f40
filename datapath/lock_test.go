// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"foundry/integration/env"
)

// asHolder has another process open an instance and stay until its stdin ends.
const asHolder = "FOUNDRY_TEST_HOLD"

func hold(dir string) error {
	d, err := Open(Config{Dir: dir})
	if err != nil {
		return err
	}
	defer d.Close()
	fmt.Println("open")
	_, err = fmt.Scanln()
	return err
}

// The second who opens an instance is told who has it, and gets it as soon as
// that process is gone, however it went.
func TestOpenOnce(t *testing.T) {
	env.RequireRoot(t)
	dir := mount(t)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), asHolder+"="+dir)
	other.Stderr = os.Stderr
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Process.Kill(); other.Wait() })
	if _, err := fmt.Fscanln(stdout, new(string)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s is locked by process %d: ", dir, other.Process.Pid)
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
		t.Errorf("Open: got %v, want %q in it", err, want)
	}
	if err := Purge(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
		t.Errorf("Purge: got %v, want %q in it", err, want)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	other.Wait()
	d := open(t, dir)
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("Open again in one process: got %v", err)
	}
	d.Close()
	if err := Purge(dir); err != nil {
		t.Error(err)
	}
}

// Without a bpffs nothing is begun, and the error says what to do.
func TestNoBPFFS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sub", "instance")
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrNoBPFFS) || !strings.Contains(err.Error(), dir+" is not on a bpffs: mount one") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
}

// Open and Purge at once: whoever opens has a directory that is there.
func TestOpenWhilePurged(t *testing.T) {
	env.RequireRoot(t)
	dir := mount(t)
	stop := make(chan struct{})
	purged := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				purged <- n
				return
			default:
			}
			f, err := lockDir(dir)
			if err == nil {
				os.RemoveAll(dir)
				f.Close()
				n++
			}
		}
	}()
	opened := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		f, err := lockDir(dir)
		if errors.Is(err, ErrLocked) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		opened++
		if same, err := isAt(f, dir); !same || err != nil {
			t.Fatalf("after %d: what was locked is not there: %v", opened, err)
		}
		f.Close()
	}
	close(stop)
	t.Logf("opened %d times, purged %d times", opened, <-purged)
}
