// SPDX-License-Identifier: Apache-2.0

package env

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
)

// ImageName is the image that every daemon has.
const ImageName = "foundry.test/busybox:latest"

// layout of the image: busybox with all its names, and a user to be.
const (
	passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
	group  = "root:x:0:\nuser:x:1000:\nextra:x:1001:user\nnogroup:x:65534:\n"
)

// BusyboxImage writes an OCI image archive made of the host's static busybox.
// The same busybox gives the same bytes.
func BusyboxImage(w io.Writer, ref string) error { return WriteImage(w, ImageConfig{Ref: ref}) }

// ImageConfig says how an image differs from the busybox one.
type ImageConfig struct {
	Ref    string
	Config map[string]any    // on top of Cmd and Env: Entrypoint, User, StopSignal...
	Files  map[string]string // more files in its one layer, without a leading slash
}

// WriteImage writes an OCI image archive. The same configuration and busybox
// give the same bytes.
func WriteImage(w io.Writer, cfg ImageConfig) error {
	layer, err := busyboxLayer(cfg.Files)
	if err != nil {
		return err
	}
	digest := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	process := map[string]any{"Cmd": []string{"/bin/sh"}, "Env": []string{"PATH=/bin"}}
	maps.Copy(process, cfg.Config)
	config := mustJSON(map[string]any{"architecture": runtime.GOARCH, "os": "linux", "config": process,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}}})
	descriptor := func(kind string, b []byte) map[string]any {
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind, "digest": digest(b), "size": len(b)}
	}
	manifest := mustJSON(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor("config.v1+json", config), "layers": []any{descriptor("layer.v1.tar", layer)}})
	entry := descriptor("manifest.v1+json", manifest)
	entry["annotations"] = map[string]string{"io.containerd.image.name": cfg.Ref}
	index := mustJSON(map[string]any{"schemaVersion": 2, "manifests": []any{entry}})
	t := tar.NewWriter(w)
	put(t, &tar.Header{Name: "oci-layout", Mode: 0o644}, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	put(t, &tar.Header{Name: "index.json", Mode: 0o644}, index)
	for _, blob := range [][]byte{config, manifest, layer} {
		put(t, &tar.Header{Name: "blobs/sha256/" + digest(blob)[len("sha256:"):], Mode: 0o644}, blob)
	}
	return t.Close()
}

func busyboxLayer(files map[string]string) ([]byte, error) {
	bin, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("read busybox: %w (install busybox-static)", err)
	}
	names, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list busybox: %w", err)
	}
	var buf bytes.Buffer
	t := tar.NewWriter(&buf)
	for _, dir := range strings.Fields("bin etc proc sys dev tmp root var home home/user") {
		h := &tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}
		if dir == "tmp" {
			h.Mode = 0o1777
		}
		put(t, h, nil)
	}
	put(t, &tar.Header{Name: "bin/busybox", Mode: 0o755}, bin)
	for _, name := range strings.Fields(string(names)) {
		if name = filepath.Base(name); name != "busybox" {
			put(t, &tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	put(t, &tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte(passwd))
	put(t, &tar.Header{Name: "etc/group", Mode: 0o644}, []byte(group))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		put(t, &tar.Header{Name: name, Mode: 0o644}, []byte(files[name]))
	}
	return buf.Bytes(), t.Close()
}

// put writes one member. A write into memory or onto a pipe that breaks shows
// at Close.
func put(t *tar.Writer, h *tar.Header, data []byte) {
	h.Size = int64(len(data))
	if err := t.WriteHeader(h); err == nil {
		_, _ = t.Write(data)
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings always encode
	}
	return b
}

// ImportImage gives the daemon's namespace the busybox image, unpacked.
func (d *Daemon) ImportImage(t testing.TB) client.Image {
	t.Helper()
	return d.Import(t, d.Context(t), ImageConfig{Ref: ImageName})
}

// Import gives the namespace of ctx an image, unpacked.
func (d *Daemon) Import(t testing.TB, ctx context.Context, cfg ImageConfig) client.Image {
	t.Helper()
	var archive bytes.Buffer
	if err := WriteImage(&archive, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Client.Import(ctx, &archive); err != nil {
		t.Fatalf("import image %q: %v", cfg.Ref, err)
	}
	image, err := d.Client.GetImage(ctx, cfg.Ref)
	if err != nil {
		t.Fatalf("get image: %v", err)
	}
	if err := image.Unpack(ctx, ""); err != nil {
		t.Fatalf("unpack image: %v", err)
	}
	return image
}
