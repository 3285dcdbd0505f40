// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// TestAppArmor: on a host that has it, init and exec run under the profile; on
// another, a profile is refused by name.
func TestAppArmor(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	if on, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); !strings.HasPrefix(string(on), "Y") {
		story{"Refused", noAppArmor}.run(t, d)
		return
	}
	for _, s := range []story{{"Profile", appArmorProfile}, {"NotLoaded", profileNotLoaded}, {"Ctr", ctrProfile}} {
		s.run(t, d)
	}
}

// TestNoSELinux: labels are refused by name where the host has no SELinux, which
// none of the hosts and guests has that this runs on.
func TestNoSELinux(t *testing.T) {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		t.Fatal("this host has SELinux: it deserves a better test")
	}
	d := env.Containerd(t, env.Config{})
	story{"Refused", noSELinux}.run(t, d)
}

func noSELinux(t *testing.T, d *env.Daemon) {
	const label = "system_u:system_r:container_t:s0:c1,c2"
	for at, set := range map[string]func(*specs.Spec){
		"process.selinuxLabel": func(s *specs.Spec) { s.Process.SelinuxLabel = label },
		"linux.mountLabel":     func(s *specs.Spec) { s.Linux.MountLabel = label },
	} {
		_, err := d.Container(t, env.ContainerConfig{Opts: []oci.SpecOpts{change(set)}}).NewTask(d.Context(t), nullIO)
		if err == nil || !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), "SELinux") {
			t.Errorf("got %v, want one that names %s", err, at)
		}
	}
}

func withProfile(name string) oci.SpecOpts {
	return change(func(s *specs.Spec) { s.Process.ApparmorProfile = name })
}

func noAppArmor(t *testing.T, d *env.Daemon) {
	_, err := d.Container(t, env.ContainerConfig{Opts: []oci.SpecOpts{withProfile("foundry-test")}}).NewTask(d.Context(t), nullIO)
	if err == nil || !strings.Contains(err.Error(), "process.apparmorProfile") || !strings.Contains(err.Error(), "AppArmor") {
		t.Errorf("got %v, want one that names process.apparmorProfile", err)
	}
	if got := d.Run(t, d.Container(t, script("echo ok", withProfile("unconfined")))).Stdout; got != "ok\n" {
		t.Errorf("unconfined: got %q", got)
	}
}

// profileText lets everything be done but to write one file.
const profileText = `profile foundry-test flags=(attach_disconnected) {
	file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,
	deny /denied w,
}
`

// loadProfile has the kernel know the profile. The loader lies beside the
// programs under test.
func loadProfile(t *testing.T, d *env.Daemon) {
	t.Helper()
	path := filepath.Join(d.Dir, "profile")
	if err := os.WriteFile(path, []byte(profileText), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(env.Bin(t), "apparmor_parser"), "-r", "-K", path).CombinedOutput()
	if err != nil {
		t.Fatalf("load AppArmor profile: %v\n%s", err, out)
	}
}

func appArmorProfile(t *testing.T, d *env.Daemon) {
	loadProfile(t, d)
	const read = "cat /proc/self/attr/current; echo >/denied || echo denied"
	const want = "foundry-test (enforce)\ndenied\n"
	task := d.StartTask(t, d.Container(t, script(read+"; exec sleep 100000", withProfile("foundry-test"))))
	env.Eventually(t, "two lines", func() bool { return strings.Count(task.Stdout.String(), "\n") == 2 })
	if got := task.Stdout.String(); got != want {
		t.Errorf("init: got %q, want %q", got, want)
	}
	if got := d.Exec(t, task, "/bin/sh", "-c", read).Stdout; got != want {
		t.Errorf("exec: got %q, want %q", got, want)
	}
}

func profileNotLoaded(t *testing.T, d *env.Daemon) {
	c := d.Container(t, env.ContainerConfig{Opts: []oci.SpecOpts{withProfile("foundry-none")}})
	task, err := c.NewTask(d.Context(t), nullIO)
	if err == nil {
		err = task.Start(d.Context(t))
	}
	if err == nil || !strings.Contains(err.Error(), "foundry-none") {
		t.Errorf("got %v, want one that names the profile", err)
	}
}

func ctrProfile(t *testing.T, d *env.Daemon) {
	loadProfile(t, d)
	got := ctr(t, d, "run", "--rm", "--runtime", env.Runtime(), "--apparmor-profile", "foundry-test", env.ImageName, "profiled",
		"/bin/cat", "/proc/self/attr/current")
	if got != "foundry-test (enforce)\n" {
		t.Errorf("got %q", got)
	}
}
