// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	remote "k8s.io/cri-client/pkg"
	"k8s.io/klog/v2"

	"foundry/integration/env"
)

const (
	busybox    = env.ImageName
	pauseImage = "foundry.test/pause:latest"
	dataImage  = "foundry.test/data:latest"
	dataText   = "from the image\n"
)

// configuration of the CRI plugin; $DIR is the daemon's directory. The handler
// foundry is that of dist/containerd/foundry.toml.
const configuration = `
[plugins."io.containerd.nri.v1.nri"]
disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "` + pauseImage + `"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "$DIR/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "foundry"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.foundry-options]
runtime_type = "io.containerd.foundry.v1"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.foundry-options.options]
NoPivotRoot = true
NoNewKeyring = true
SystemdCgroup = false
LogRing = 65536
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.foundry-wrong]
runtime_type = "io.containerd.foundry.v1"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.foundry-wrong.options]
LogLoss = "sometimes"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.opt.v1.path"]
path = "$DIR/opt"
`

// network gives each pod an address on a bridge, and maps its ports.
const network = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}`

// gateway is the node's address on the bridge.
const gateway = "10.88.0.1"

// node is a containerd with the CRI plugin, and a kubelet's view of it.
type node struct {
	*env.Daemon
	*clients
	handler string
	users   bool // pods have user namespaces of their own
}

// clients are new ones after a restart of containerd, for all who have them.
type clients struct {
	runtime internalapi.RuntimeService
	images  internalapi.ImageManagerService
}

// newNode starts a node with the images that the stories use.
func newNode(t testing.TB) *node {
	t.Helper()
	env.RequireRoot(t)
	klog.SetLogger(logr.Discard()) // the client logs each error that it returns
	d := env.Containerd(t, env.Config{CRI: true, TOML: configuration, NoImage: true,
		Imports: []string{env.Module(t) + "/dist/containerd/foundry.toml"}})
	if err := os.MkdirAll(d.Dir+"/net.d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Dir+"/net.d/pods.conflist", []byte(network), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{Daemon: d, clients: &clients{}, handler: "foundry"}
	n.connect(t)
	t.Cleanup(n.disconnect)
	n.pull(t, env.ImageConfig{Ref: busybox})
	n.pull(t, env.ImageConfig{Ref: pauseImage, Config: map[string]any{"Cmd": []string{"/bin/sleep", "1000000000"}}})
	n.pull(t, env.ImageConfig{Ref: dataImage, Files: map[string]string{"home/data.txt": dataText}})
	return n
}

// withUsers after a handler's name: its pods have user namespaces.
const withUsers = "+users"

// with is the same node, seen through another handler.
func (n *node) with(handler string) *node {
	other := *n
	other.handler, other.users = strings.CutSuffix(handler, withUsers)
	return &other
}

// pull makes an image known to the CRI plugin, which hears of it by an event.
func (n *node) pull(t testing.TB, cfg env.ImageConfig) {
	t.Helper()
	n.Import(t, namespaces.WithNamespace(n.Context(t), "k8s.io"), cfg)
	env.Eventually(t, "the CRI plugin knows "+cfg.Ref, func() bool {
		got, err := n.images.ImageStatus(n.Context(t), &runtimeapi.ImageSpec{Image: cfg.Ref}, false)
		return err == nil && got.Image != nil
	})
}

// connect makes clients, and waits until runtime and network are ready.
// containerd answers before its CRI plugin does.
func (n *node) connect(t testing.TB) {
	t.Helper()
	ctx, endpoint := context.Background(), "unix://"+n.Address
	plain := runtimeapi.NewRuntimeServiceClient(n.Client.Conn().(grpc.ClientConnInterface))
	env.Eventually(t, "the CRI plugin answers", func() bool {
		_, err := plain.Version(ctx, &runtimeapi.VersionRequest{})
		return err == nil
	})
	var err error
	n.runtime, err = remote.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(time.Minute).Build(ctx)
	if err != nil {
		t.Fatalf("connect to the CRI runtime service: %v", err)
	}
	n.images, err = remote.NewRemoteImageServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(time.Minute).Build(ctx)
	if err != nil {
		t.Fatalf("connect to the CRI image service: %v", err)
	}
	env.Eventually(t, "runtime and network are ready", func() bool {
		got, err := n.runtime.Status(ctx, false)
		if err != nil {
			return false
		}
		ready := 0
		for _, c := range got.Status.Conditions {
			if c.Status && (c.Type == runtimeapi.RuntimeReady || c.Type == runtimeapi.NetworkReady) {
				ready++
			}
		}
		return ready == 2
	})
}

func (n *node) disconnect() {
	n.runtime.Close(context.Background())
	n.images.Close(context.Background())
}

// restart restarts containerd, with pods on it.
func (n *node) restart(t *testing.T) {
	t.Helper()
	n.disconnect()
	n.Restart(t)
	n.connect(t)
}

// story is one of many told on one node, for a handler.
type story struct {
	name  string
	tell  func(*testing.T, *node)
	plain string // why it is not told of pods with user namespaces
}

// tell tells stories for each handler, one after the other, and sees to it that
// they leave nothing.
func tell(t *testing.T, handlers []string, stories ...story) {
	t.Helper()
	n := newNode(t)
	for _, handler := range handlers {
		for _, s := range stories {
			if s.plain != "" && strings.HasSuffix(handler, withUsers) {
				continue
			}
			t.Run(s.name+"/"+handler, func(t *testing.T) {
				t.Cleanup(func() { n.CheckLeaks(t) })
				s.tell(t, n.with(handler))
			})
		}
	}
}

var (
	both = []string{"foundry", "runc"}
	ours = []string{"foundry"}
	all  = []string{"foundry", "foundry" + withUsers, "runc"}
)

func (n *node) path(elem ...string) string { return filepath.Join(append([]string{n.Dir}, elem...)...) }
