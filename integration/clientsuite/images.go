// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imagePlatforms are in every index; only the first one runs here.
var imagePlatforms = []ocispec.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm64", Variant: "v8"},
	{OS: "linux", Architecture: "s390x"},
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// makeImage builds the image of one reference and returns the digest of its
// index. Windows images get an index without a Linux platform, as the suite
// expects of them. Every layer is unique to its reference and platform: the
// suite counts on content that no other image shares.
func makeImage(ref string, put func(mediaType string, data []byte) string) string {
	platforms := imagePlatforms
	if strings.Contains(ref, "windows") {
		platforms = []ocispec.Platform{{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"}}
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for i, p := range platforms {
		files := []layer{markLayer(ref, p), extraLayer(ref, p)}
		if i == 0 && p.OS == "linux" {
			files = append([]layer{busyboxLayer(ref)}, files...)
		}
		data := manifest(p, files, put)
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(put(ocispec.MediaTypeImageManifest, data)),
			Size: int64(len(data)), Platform: &platforms[i],
		})
	}
	return put(ocispec.MediaTypeImageIndex, encode(index))
}

func manifest(p ocispec.Platform, layers []layer, put func(string, []byte) string) []byte {
	image := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers"}}
	image.Config = ocispec.ImageConfig{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		raw := l.tar()
		packed := compress(raw)
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, digest.Digest(digestOf(raw)))
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.Digest(put(ocispec.MediaTypeImageLayerGzip, packed)), Size: int64(len(packed)),
		})
	}
	config := encode(image)
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.Digest(put(ocispec.MediaTypeImageConfig, config)), Size: int64(len(config))}
	return encode(m)
}

// layer is a list of files in order.
type layer []file

type file struct {
	name, link, data string
	mode             int64
}

func (l layer) tar() []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range l {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}
		switch {
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		must(w.WriteHeader(h))
		_, err := w.Write([]byte(f.data))
		must(err)
	}
	must(w.Close())
	return out.Bytes()
}

func markLayer(ref string, p ocispec.Platform) layer {
	return layer{{name: "etc/image", data: ref + " " + p.OS + "/" + p.Architecture + "\n", mode: 0o644}}
}

func extraLayer(ref string, p ocispec.Platform) layer {
	return layer{{name: "test_dir/", mode: 0o755}, {name: "test_dir/test_file", data: "test " + ref + p.Architecture + "\n", mode: 0o644}}
}

// busyboxLayer has a user land for the suite: what it runs in containers is
// plain busybox, but for a bash, a set-uid passwd, and an nc that ends on
// SIGTERM even as pid 1, where a signal without a handler is ignored.
func busyboxLayer(ref string) layer {
	bin, err := os.ReadFile("/bin/busybox")
	must(err)
	l := layer{}
	for _, d := range []string{"bin/", "etc/", "proc/", "sys/", "dev/", "root/", "run/", "var/", "home/", "usr/", "usr/bin/"} {
		l = append(l, file{name: d, mode: 0o755})
	}
	l = append(l, file{name: "tmp/", mode: 0o1777}, file{name: "bin/busybox", data: string(bin), mode: 0o755})
	list, err := exec.Command("/bin/busybox", "--list").Output()
	must(err)
	for _, name := range strings.Fields(string(list)) {
		switch name {
		case "busybox", "nc", "bash":
		default:
			l = append(l, file{name: "bin/" + name, link: "busybox"})
		}
	}
	return append(l,
		file{name: "bin/bash", data: "#!/bin/sh\nexec /bin/sh \"$@\"\n", mode: 0o755},
		file{name: "bin/nc", data: "#!/bin/sh\ntrap 'kill $!; exit 143' TERM\n/bin/busybox nc \"$@\" &\nwait $!\n", mode: 0o755},
		file{name: "usr/bin/passwd", data: "#!/bin/sh\n", mode: 0o4755},
		file{name: "etc/passwd", data: passwd, mode: 0o644},
		file{name: "etc/group", data: group, mode: 0o644},
		file{name: "etc/ref", data: ref + "\n", mode: 0o644},
	)
}

// The users that the suite asks for by name, with Debian's numbers.
const (
	passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nbin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\n" +
		"www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
	group = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nwww-data:x:33:\nnogroup:x:65534:\n"
)

func compress(data []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	must(err)
	_, err = w.Write(data)
	must(err)
	must(w.Close())
	return out.Bytes()
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	must(err)
	return data
}

// must is for what cannot fail on a machine that has busybox-static: writing to
// memory and encoding our own types.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
