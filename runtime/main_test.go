// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"foundry/runtime/spawn"
)

// TestMain is also the program of the servers that crash_test.go kills.
func TestMain(m *testing.M) {
	if part := os.Getenv("FOUNDRY_TEST_CRIU"); part != "" {
		playCriu(part)
		os.Exit(0)
	}
	role, text := os.Getenv(roleEnv), os.Getenv(victimEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	var v victim
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	if role == "boot" {
		ready := os.NewFile(3, "ready")
		fmt.Fprintln(ready, v.boot(ready)) // it returns when it failed
		os.Exit(1)
	}
	conn, slots, ready, err := spawn.Inherited()
	if err == nil {
		err = v.serve(conn, slots)
	}
	if err != nil {
		fmt.Fprintln(ready, err)
	}
	ready.Close() // not before: the test takes it for our death
	os.Exit(0)
}

// attach starts a spawner as a child of this process.
func attach(root string) (conn, slots *os.File, spawner *exec.Cmd, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	conn = os.NewFile(uintptr(pair[0]), "spawner")
	theirs := os.NewFile(uintptr(pair[1]), "server")
	defer theirs.Close()
	slots, err = os.OpenFile(filepath.Join(root, "slots"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = slots.Truncate(4096 * 1024)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	binary, err := filepath.Abs("spawn/spawner_linux_amd64")
	if err != nil {
		return nil, nil, nil, err
	}
	spawner = exec.Command(binary, "-attach", "3", "4")
	spawner.ExtraFiles = []*os.File{theirs, slots}
	spawner.Stderr = os.Stderr
	return conn, slots, spawner, spawner.Start()
}

// newRuntime is a runtime with a spawner of its own.
func newRuntime(cfg Config) (*Runtime, *spawn.Client, *exec.Cmd, error) {
	conn, slots, spawner, err := attach(cfg.Root)
	if err != nil {
		return nil, nil, nil, err
	}
	rt, client, err := connect(cfg, conn, slots)
	return rt, client, spawner, err
}

func connect(cfg Config, conn, slots *os.File) (*Runtime, *spawn.Client, error) {
	cfg.Slots = filepath.Join(cfg.Root, "slots")
	rt, err := New(cfg)
	if err != nil {
		return nil, nil, err
	}
	client, err := spawn.NewClient(conn, slots, rt.HandleExit)
	if err != nil {
		return nil, nil, err
	}
	rt.Connect(client)
	return rt, client, nil
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, Config{})
}

// newWorldWith fills in what cfg leaves out.
func newWorldWith(t testing.TB, cfg Config) *world {
	t.Helper()
	requireRoot(t)
	w := &world{t: t, place: newPlace(t), image: image(t)}
	w.ooms = make(chan string, 8)
	cfg.Root, cfg.OnOOM = w.root, func(_, id string) { w.ooms <- id }
	rt, client, spawner, err := newRuntime(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Runtime = rt
	t.Cleanup(func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
		client.Close()
		done := make(chan error, 1)
		go func() { done <- spawner.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("spawner: %v", err)
			}
		case <-time.After(patience):
			t.Error("the spawner did not leave")
			spawner.Process.Kill()
			<-done
		}
	})
	return w
}
