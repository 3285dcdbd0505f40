// SPDX-License-Identifier: Apache-2.0

package env

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// Config says how a test's containerd differs from the usual one. The zero
// value is: the binaries of this tree first on its PATH, no CRI, the busybox
// image imported, log level warn.
type Config struct {
	Path     []string // more directories for PATH, before all others
	Env      []string // more environment
	TOML     string   // more configuration; $DIR in it is the daemon's directory
	Imports  []string // more configuration files
	LogLevel string
	NoImage  bool
	CRI      bool // leave the CRI plugin on; whoever asks configures it in TOML
	Old      bool // containerd 1.7, the oldest that is supported
}

// Daemon is a private containerd. Its methods may be used by parallel subtests;
// Restart and Stop by one at a time.
type Daemon struct {
	Client    *client.Client
	Namespace string // the containerd namespace of this daemon's containers
	Address   string
	Dir       string // everything of this daemon is below it
	Image     client.Image

	cfg  Config
	path string
	cmd  *exec.Cmd
}

// Containerd starts a private containerd. At the end of the test it is stopped,
// everything it started is killed, and the test fails if that was necessary.
func Containerd(t testing.TB, cfg Config) *Daemon {
	t.Helper()
	RequireRoot(t)
	path := append(append([]string(nil), cfg.Path...), Bin(t), Tools(t), os.Getenv("PATH"))
	dir, err := os.MkdirTemp("", "fe") // short: containerd allows a socket_dir 42 bytes
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Dir: dir, Address: dir + "/c.sock", Namespace: "fe" + strings.ToLower(rand.Text()[:10]), cfg: cfg}
	d.path = strings.Join(path, ":")
	if err := os.WriteFile(dir+"/config.toml", []byte(d.toml()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.remove(t) })
	d.Start(t)
	if !cfg.NoImage {
		d.Image = d.ImportImage(t)
	}
	return d
}

func (d *Daemon) toml() string {
	off := `["io.containerd.grpc.v1.cri", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]`
	if d.cfg.CRI { // which depends on the NRI plugin
		off = `["io.containerd.tracing.processor.v1.otlp"]`
	}
	if d.cfg.Old { // it knows neither version 3 nor a socket_dir
		return fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "%[1]s/c.sock"
[ttrpc]
address = "%[1]s/c.sock.ttrpc"
%[2]s
`, d.Dir, strings.ReplaceAll(d.cfg.TOML, "$DIR", d.Dir))
	}
	imports := ""
	for _, file := range d.cfg.Imports {
		imports += strconv.Quote(file) + ", "
	}
	return fmt.Sprintf(`version = 3
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = %[3]s
imports = [%[4]s]
[grpc]
address = "%[1]s/c.sock"
[ttrpc]
address = "%[1]s/c.sock.ttrpc"
[plugins."io.containerd.shim.v1.manager"]
socket_dir = "%[1]s/s"
%[2]s
`, d.Dir, strings.ReplaceAll(d.cfg.TOML, "$DIR", d.Dir), off, imports)
}

// Elsewhere is the same daemon seen from another of its containerd namespaces,
// which has nothing but the image. What is left there is found as usual.
func (d *Daemon) Elsewhere(t testing.TB, suffix string) *Daemon {
	t.Helper()
	other := *d
	other.Namespace += suffix
	other.Image = other.ImportImage(t)
	return &other
}

// Start starts the daemon after a Stop or Kill, with the same directories.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	level := cmp.Or(d.cfg.LogLevel, "warn")
	log, err := os.OpenFile(d.Dir+"/containerd.log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(d.binary(t), "--config", d.Dir+"/config.toml", "--log-level", level)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = append([]string{"PATH=" + d.path, "FOUNDRY_ROOT=" + d.Dir + "/f", "HOME=" + d.Dir}, d.cfg.Env...)
	// containerd dies with a test that panics. Its servers do not: they are
	// found by their files at the next line of defence, remove.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("start containerd: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second*Slowness())
	defer cancel()
	if d.Client, err = client.New(d.Address, client.WithTimeout(60*time.Second*Slowness())); err != nil {
		t.Fatalf("connect to containerd: %v\n%s", err, d.Log())
	}
	if ok, err := d.Client.IsServing(ctx); !ok || err != nil {
		t.Fatalf("containerd does not serve: %v\n%s", err, d.Log())
	}
	if d.Image != nil { // a client's object, and this is another client
		if d.Image, err = d.Client.GetImage(d.Context(t), ImageName); err != nil {
			t.Fatalf("get image: %v", err)
		}
	}
}

// binary is the containerd of the daemon.
func (d *Daemon) binary(t testing.TB) string {
	if d.cfg.Old {
		return filepath.Join(filepath.Dir(Tools(t)), "containerd-1.7.35", "containerd")
	}
	return filepath.Join(Tools(t), "containerd")
}

// Stop ends the daemon in good order; its containers go on.
func (d *Daemon) Stop(t testing.TB) { d.end(t, syscall.SIGTERM) }

// Kill ends the daemon as a crash would; its containers go on.
func (d *Daemon) Kill(t testing.TB) { d.end(t, syscall.SIGKILL) }

// Restart is Stop and Start.
func (d *Daemon) Restart(t testing.TB) {
	t.Helper()
	d.Stop(t)
	d.Start(t)
}

func (d *Daemon) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if d.Client != nil {
		d.Client.Close()
		d.Client = nil
	}
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Errorf("signal containerd: %v", err)
	}
	giveUp := time.AfterFunc(30*time.Second*Slowness(), func() { d.cmd.Process.Kill() })
	d.cmd.Wait()
	if !giveUp.Stop() {
		t.Errorf("containerd did not end on %v\n%s", sig, d.Log())
	}
	d.cmd = nil
}

// Context is a request's context in the daemon's namespace. It ends with the
// test, or after a time no request here may take.
func (d *Daemon) Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute*Slowness())
	t.Cleanup(cancel)
	return namespaces.WithNamespace(ctx, d.Namespace)
}

// LongContext is a Context for benchmarks, which set no bound of their own.
func (d *Daemon) LongContext(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return namespaces.WithNamespace(ctx, d.Namespace)
}

// Log is what containerd has logged, its last part.
func (d *Daemon) Log() string {
	b, _ := os.ReadFile(d.Dir + "/containerd.log")
	if len(b) > 8<<10 {
		b = b[len(b)-8<<10:]
	}
	return string(b)
}

// Slowness is what to multiply times with: an emulated guest sets
// FOUNDRY_SLOW.
func Slowness() time.Duration {
	if os.Getenv("FOUNDRY_SLOW") != "" {
		return 20
	}
	return 1
}
