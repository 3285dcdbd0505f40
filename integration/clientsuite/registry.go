// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// registryAddress is what the rewritten references name: a bare host, because
// containerd's distribution labels leave a port out. The network namespace is
// this run's own, so the port for plain HTTP is free.
const registryAddress = "localhost"

// registry serves read-only images that are made when first asked for, after
// the pull half of the OCI distribution specification.
type registry struct {
	mu    sync.Mutex // guards blobs and tags
	blobs map[string]blob
	tags  map[string]string // "repository:tag" -> digest of its index
}

type blob struct {
	mediaType string
	data      []byte
}

func serveRegistry(addr string) (stop func(), err error) {
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "80"))
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	srv := &http.Server{Handler: &registry{blobs: map[string]blob{}, tags: map[string]string{}}, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(l)
	return func() { srv.Shutdown(context.Background()) }, nil
}

// ServeHTTP answers /v2/, /v2/NAME/manifests/REF and /v2/NAME/blobs/DIGEST.
func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	path := strings.TrimPrefix(q.URL.Path, "/v2/")
	if path == "" {
		w.WriteHeader(http.StatusOK)
		return
	}
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		http.Error(w, "read-only registry", http.StatusMethodNotAllowed)
		return
	}
	b, digest, ok := r.find(path)
	if !ok {
		http.NotFound(w, q)
		return
	}
	w.Header().Set("Content-Type", b.mediaType)
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", strconv.Itoa(len(b.data)))
	if q.Method == http.MethodGet {
		w.Write(b.data)
	}
}

func (r *registry) find(path string) (blob, string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, name, ref := "", "", ""
	for _, k := range []string{"/manifests/", "/blobs/"} {
		if before, after, ok := strings.Cut(path, k); ok {
			kind, name, ref = k, before, after
		}
	}
	if kind == "" {
		return blob{}, "", false
	}
	digest := ref
	if !strings.HasPrefix(ref, "sha256:") {
		digest = r.tagLocked(name, ref)
	} else if ref == fixedDigest {
		digest = r.tagLocked("containerd/busybox", "1.36")
	}
	b, ok := r.blobs[digest]
	return b, digest, ok
}

func (r *registry) tagLocked(name, tag string) string {
	key := name + ":" + tag
	if d, ok := r.tags[key]; ok {
		return d
	}
	r.tags[key] = makeImage(key, func(mediaType string, data []byte) string {
		d := digestOf(data)
		r.blobs[d] = blob{mediaType, data}
		return d
	})
	return r.tags[key]
}
