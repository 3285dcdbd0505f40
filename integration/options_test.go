// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"foundry/integration/env"
)

func TestOptions(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{{"OfARuntimeHandler", handlerOptions}, {"OfAContainer", containerOptions}, {"FullDisk", fullDisk}} {
		s.run(t, d)
	}
}

// handlerOptions: what a handler's table has of the wrong type fails the create
// and is named; what is not known is logged, once.
func handlerOptions(t *testing.T, d *env.Daemon) {
	for _, text := range []string{"LogRings = 4\nSystemdCgroup = true\n", "LogRings = 5\nSystemdCgroup = true\nLogRing = 65536\n"} {
		if err := withOptions(t, d, text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	log := d.Servers()[0].Log()
	for _, want := range []string{`option \"LogRings\" is not known`, "option SystemdCgroup means nothing here"} {
		if n := strings.Count(log, want); n != 1 {
			t.Errorf("the log says %q %d times, want once", want, n)
		}
	}
	if err := withOptions(t, d, "LogRing = 'large'"); err == nil || !strings.Contains(err.Error(), "options: LogRing: want an integer, got string large") {
		t.Errorf("got %v", err)
	}
}

// withOptions runs a container of a handler with these options.
func withOptions(t *testing.T, d *env.Daemon, text string) error {
	t.Helper()
	ctx := d.Context(t)
	c, err := d.NewContainer(ctx, env.ContainerConfig{Args: []string{"/bin/true"}, Options: &runtimeoptions.Options{ConfigBody: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil {
			t.Error(err)
		}
	}()
	return runsTo(ctx, c, 0)
}

// containerOptions: a wrong value of an annotation fails the create, one that
// is misspelt does not.
func containerOptions(t *testing.T, d *env.Daemon) {
	for annotation, want := range map[string]string{
		"foundry.log.ring=1M":      `annotations["foundry.log.ring"]: want an integer, got string 1M`,
		"foundry.log.loss=always":  `annotations["foundry.log.loss"]: want absent, full, never, got "always"`,
		"foundry.log.rings=5":      "",
		"foundry.exec.orphan=1000": "",
	} {
		name, value, _ := strings.Cut(annotation, "=")
		c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}, Opts: []oci.SpecOpts{annotated(map[string]string{name: value})}})
		err := runsTo(d.Context(t), c, 0)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", annotation, err, want)
		}
	}
	if !strings.Contains(d.Servers()[0].Log(), "foundry.log.rings") {
		t.Error("the log does not tell of the misspelt one")
	}
}

// The disk of a log is full for a while: the container waits, nothing is lost
// and nothing need be started again. When it stays full, a delete does not
// wait for it.
func fullDisk(t *testing.T, d *env.Daemon) {
	dir := t.TempDir()
	if err := syscall.Mount("test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	full := func(name string) {
		t.Helper()
		if err := os.WriteFile(name, make([]byte, 2<<20), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
	}
	run := func() client.Task {
		t.Helper()
		c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "seq 30000; sleep 100000"}})
		task, err := c.NewTask(d.Context(t), cio.LogFile(dir+"/log"))
		if err == nil {
			err = task.Start(d.Context(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		return task
	}
	full(dir + "/ballast")
	task := run()
	if err := os.Remove(dir + "/ballast"); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "all is logged", func() bool {
		log, _ := os.ReadFile(dir + "/log")
		return strings.HasPrefix(string(log), "1\n2\n") && strings.HasSuffix(string(log), "\n30000\n")
	})
	full(dir + "/ballast")
	second := run()
	began := time.Now()
	for _, task := range []client.Task{task, second} {
		if _, err := task.Delete(d.Context(t), client.WithProcessKill); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > 8*time.Second*env.Slowness() {
		t.Errorf("deleting took %s", took)
	}
}
