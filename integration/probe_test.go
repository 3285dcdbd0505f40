// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"foundry/integration/env"
)

func annotated(annotations map[string]string) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Annotations = annotations
		return nil
	}
}

func TestExecsWithoutClients(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{{"Orphans", orphanedExecs}, {"Probes", hangingProbes}} {
		s.run(t, d)
	}
}

// The client of an exec goes away and does not come back: the exec gets
// SIGHUP, one that does not heed it SIGKILL, and both exits are told. One whose
// client stays lives on.
func orphanedExecs(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, d.Container(t, env.ContainerConfig{
		Args: []string{"/bin/sleep", "100000"},
		Opts: []oci.SpecOpts{annotated(map[string]string{"foundry.exec.orphan": "1"})},
	}))
	watched := fifoExec(t, d, task, "watched", "sleep 100000")
	for name, test := range map[string]struct {
		script string
		want   uint32
	}{
		"mild":     {"echo up; exec sleep 100000", 128 + uint32(syscall.SIGHUP)},
		"stubborn": {"trap '' HUP; echo up; sleep 100000", 128 + uint32(syscall.SIGKILL)},
	} {
		e := fifoExec(t, d, task, name, test.script)
		if _, err := e.out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		e.leave()
		if got := env.Wait(t, e.exit).ExitCode(); got != test.want {
			t.Errorf("%s: got exit %d, want %d", name, got, test.want)
		}
		if _, err := e.Delete(d.Context(t)); err != nil {
			t.Error(err)
		}
	}
	select {
	case s := <-watched.exit:
		t.Errorf("the exec whose client is there: ended with %d", s.ExitCode())
	default:
	}
	watched.leave()
}

// fifoExecution is an exec whose streams a test holds as a client does.
type fifoExecution struct {
	client.Process
	exit <-chan client.ExitStatus
	out  waiting
	ends []*os.File
}

func (e *fifoExecution) leave() {
	for _, f := range e.ends {
		f.Close()
	}
}

func fifoExec(t *testing.T, d *env.Daemon, task client.Task, id, script string) *fifoExecution {
	t.Helper()
	ctx, f := d.Context(t), newFifos(t, d)
	e := &fifoExecution{}
	for _, path := range []string{f.conf.Stdout, f.conf.Stderr} {
		e.ends = append(e.ends, f.reader(path).(*os.File))
	}
	e.out = waiting{e.ends[0]}
	spec, err := task.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	process := *spec.Process
	process.Args, process.Terminal = []string{"/bin/sh", "-c", script}, false
	if e.Process, err = task.Exec(ctx, id, &process, f.creator()); err == nil {
		if e.exit, err = e.Wait(ctx); err == nil {
			err = e.Start(ctx)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What kubelet does all day: an exec that hangs, is killed after its time and
// deleted. Hundreds of them leave nothing.
func hangingProbes(t *testing.T, d *env.Daemon) {
	n, workers := 400, 8
	if testing.Short() {
		n = 40
	}
	task := d.StartTask(t, sleeper(t, d))
	probe := func(i int) string {
		if err := hangingProbe(d.Context(t), d, task.Task, fmt.Sprint("probe", i)); err != nil {
			t.Errorf("probe %d: %v", i, err)
		}
		return ""
	}
	parallel(workers, workers, probe) // what the first ones need for good
	before := d.Footprint(t)
	parallel(workers, n, func(i int) string { return probe(workers + i) })
	d.CheckFootprint(t, before)
	if out := d.Exec(t, task, "/bin/sh", "-c", "echo /proc/[0-9]*").Stdout; len(strings.Fields(out)) > 2 {
		t.Errorf("processes left in the container: %s", out)
	}
}

func hangingProbe(ctx context.Context, d *env.Daemon, task client.Task, id string) error {
	spec, err := task.Spec(ctx)
	if err != nil {
		return err
	}
	process := *spec.Process
	process.Args, process.Terminal = []string{"/bin/sh", "-c", "echo hanging; sleep 100000"}, false
	p, err := task.Exec(ctx, id, &process, cio.NewCreator(cio.WithStreams(nil, &env.Output{}, &env.Output{}), cio.WithFIFODir(d.Dir+"/io")))
	if err != nil {
		return err
	}
	exit, err := p.Wait(ctx)
	if err == nil {
		err = p.Start(ctx)
	}
	if err != nil {
		return err
	}
	time.Sleep(20 * time.Millisecond) // the probe's time
	if err := p.Kill(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	if status := <-exit; status.ExitCode() != 137 {
		return fmt.Errorf("exit: got %d, %w, want 137", status.ExitCode(), status.Error())
	}
	_, err = p.Delete(ctx)
	return err
}
