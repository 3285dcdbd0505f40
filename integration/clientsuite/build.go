// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	containerdModule = "github.com/containerd/containerd/v2"
	suiteBinary      = "client.test"
)

// A reference in the suite's source names a public registry; the loopback
// registry answers for every repository and tag, so only the host changes. A
// digest is answered for one fixed image. An import path has neither tag nor
// digest, and stays.
var (
	reference   = regexp.MustCompile(`"((?:[a-z0-9-]+\.)+(?:io|com|org))(/[a-z0-9._/-]+[:@][A-Za-z0-9._:-]+)?"`)
	byDigest    = regexp.MustCompile(`@sha256:[0-9a-f]{64}"`)
	goTestFiles = []string{"integration/images/image_list.go", "integration/client/client_test.go", "integration/client/image_test.go"}
)

// fixedDigest is replaced in the suite by the digest of our own image.
const fixedDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// buildSuite copies containerd's module, points it at the loopback registry and
// compiles its client suite, once for each version.
func buildSuite(cache string) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", containerdModule).Output()
	if err != nil {
		return "", fmt.Errorf("find %s in the module cache: %w", containerdModule, err)
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	binary := filepath.Join(cache, suiteBinary)
	stamp := filepath.Join(cache, "stamp")
	want := version + " " + digestOf([]byte(reference.String()+registryAddress+byDigestImage()))
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		if _, err := os.Stat(binary); err == nil {
			return binary, nil
		}
	}
	source := filepath.Join(cache, "source")
	if err := os.RemoveAll(source); err != nil {
		return "", err
	}
	if err := copyTree(dir, source); err != nil {
		return "", fmt.Errorf("copy the suite: %w", err)
	}
	for _, name := range goTestFiles {
		if err := rewrite(filepath.Join(source, name)); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("go", "test", "-c", "-o", binary, "./integration/client")
	cmd.Dir, cmd.Stdout, cmd.Stderr = source, os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("compile the suite: %w", err)
	}
	return binary, os.WriteFile(stamp, []byte(want), 0o644)
}

func rewrite(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("rewrite references: %w", err)
	}
	text := reference.ReplaceAllString(string(data), `"`+registryAddress+`$2"`)
	text = byDigest.ReplaceAllString(text, "@"+byDigestImage()+`"`)
	return os.WriteFile(name, []byte(text), 0o644)
}

// byDigestImage is the digest that the registry will give busybox:1.36.
func byDigestImage() string {
	r := &registry{blobs: map[string]blob{}, tags: map[string]string{}}
	return r.tagLocked("containerd/busybox", "1.36")
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}
