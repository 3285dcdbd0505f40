// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/exec"

	"foundry/integration/env"
)

// pod is a running sandbox.
type pod struct {
	*node
	id     string
	config *runtimeapi.PodSandboxConfig
}

// podConfig is a pod on the bridge, with namespaces of its own. Its containers'
// cgroups are named after the daemon's namespace, so that leaks are seen.
func (n *node) podConfig() *runtimeapi.PodSandboxConfig {
	uid := strings.ToLower(rand.Text()[:10])
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "pod-" + uid, Uid: uid, Namespace: "default"},
		Hostname:     "pod-" + uid,
		LogDirectory: n.path("logs", uid),
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: "/" + n.Namespace + "-" + uid,
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
			},
		},
	}
}

// pod runs one, which is stopped and removed at the end of the test.
func (n *node) pod(t testing.TB, change ...func(*runtimeapi.PodSandboxConfig)) *pod {
	t.Helper()
	p, err := n.tryPod(n.Context(t), change...)
	if err != nil {
		t.Fatalf("run pod: %v\n%s", err, n.Log())
	}
	t.Cleanup(func() {
		if err := p.remove(context.Background()); err != nil {
			t.Errorf("remove pod: %v", err)
		}
	})
	return p
}

// tryPod is pod for goroutines, and for those who remove it themselves.
func (n *node) tryPod(ctx context.Context, change ...func(*runtimeapi.PodSandboxConfig)) (*pod, error) {
	p := &pod{node: n, config: n.podConfig()}
	for _, c := range change {
		c(p.config)
	}
	if n.users {
		ownUsers(p.config)
	}
	if err := os.MkdirAll(p.config.LogDirectory, 0o700); err != nil {
		return nil, err
	}
	var err error
	p.id, err = n.runtime.RunPodSandbox(ctx, p.config, n.handler)
	return p, err
}

func (p *pod) remove(ctx context.Context) error {
	return errors.Join(p.runtime.StopPodSandbox(ctx, p.id), p.runtime.RemovePodSandbox(ctx, p.id))
}

// container is a started container of a pod.
type container struct {
	*pod
	id   string
	name string
}

// run creates and starts a container; the pod's removal takes it along.
func (p *pod) run(t testing.TB, change func(*runtimeapi.ContainerConfig), args ...string) *container {
	t.Helper()
	c, err := p.tryRun(p.Context(t), change, args...)
	if err != nil {
		t.Fatalf("run container: %v", err)
	}
	return c
}

// sleeper is a container that is there to be asked.
func (p *pod) sleeper(t testing.TB, change func(*runtimeapi.ContainerConfig)) *container {
	t.Helper()
	return p.run(t, change, "/bin/sleep", "1000000000")
}

func (p *pod) tryRun(ctx context.Context, change func(*runtimeapi.ContainerConfig), args ...string) (*container, error) {
	c := &container{pod: p, name: "c" + strings.ToLower(rand.Text()[:8])}
	config := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: c.name},
		Image:    &runtimeapi.ImageSpec{Image: busybox},
		Command:  args,
		LogPath:  c.name + ".log",
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources: &runtimeapi.LinuxContainerResources{},
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions,
				MaskedPaths:      []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
				ReadonlyPaths:    []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"},
			},
		},
	}
	if change != nil {
		change(config)
	}
	var err error
	if c.id, err = p.runtime.CreateContainer(ctx, p.id, config, p.config); err != nil {
		return nil, err
	}
	return c, p.runtime.StartContainer(ctx, c.id)
}

// security is a change to a container's security context.
func security(change func(*runtimeapi.LinuxContainerSecurityContext)) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { change(c.Linux.SecurityContext) }
}

// result is what came of an exec.
type result struct {
	stdout, stderr string
	code           int
}

// tryExec runs a command in the container. A timeout of 0 is none.
func (c *container) tryExec(ctx context.Context, timeout time.Duration, args ...string) (result, error) {
	stdout, stderr, err := c.runtime.ExecSync(ctx, c.id, args, timeout)
	r := result{stdout: string(stdout), stderr: string(stderr)}
	var code exec.CodeExitError
	if errors.As(err, &code) {
		r.code, err = code.Code, nil
	}
	return r, err
}

func (c *container) exec(t testing.TB, args ...string) result {
	t.Helper()
	r, err := c.tryExec(c.Context(t), 0, args...)
	if err != nil {
		t.Fatalf("exec %q: %v", args, err)
	}
	return r
}

// sh is the output of a shell script in the container, trimmed.
func (c *container) sh(t testing.TB, script string) string {
	t.Helper()
	r := c.exec(t, "/bin/sh", "-c", script)
	if r.code != 0 {
		t.Errorf("%s: exit code %d, stderr %q", script, r.code, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// expect checks what a shell script in the container prints.
func (c *container) expect(t testing.TB, script, want string) {
	t.Helper()
	if got := c.sh(t, script); got != want {
		t.Errorf("%s:\n got %q\nwant %q", script, got, want)
	}
}

func (c *container) status(t testing.TB) *runtimeapi.ContainerStatus {
	t.Helper()
	got, err := c.runtime.ContainerStatus(c.Context(t), c.id, false)
	if err != nil {
		t.Fatalf("status of %s: %v", c.name, err)
	}
	return got.Status
}

// ended waits for the end of the container.
func (c *container) ended(t testing.TB) *runtimeapi.ContainerStatus {
	t.Helper()
	var s *runtimeapi.ContainerStatus
	env.Eventually(t, "container ends", func() bool {
		s = c.status(t)
		return s.State == runtimeapi.ContainerState_CONTAINER_EXITED
	})
	return s
}

// log is the container's log without the times: stream and text of each line,
// with P: before a part that the next one continues.
func (c *container) log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(c.config.LogDirectory + "/" + c.name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return logText(b)
}

func logText(b []byte) string {
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(line, " ", 4)
		if len(f) != 4 {
			return "not a log: " + line
		}
		out.WriteString(f[1] + " " + map[string]string{"P": "P:"}[f[2]] + f[3])
	}
	return out.String()
}

func trim(s string) string { return strings.TrimSpace(s) }
