// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/cio"

	"foundry/integration/env"
)

// fifos are the streams of a process as a client makes them, without anybody
// who copies: a test opens and closes the ends when it wants to.
type fifos struct {
	t    *testing.T
	conf cio.Config
}

func newFifos(t *testing.T, d *env.Daemon) *fifos {
	t.Helper()
	if err := os.MkdirAll(d.Dir+"/io", 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(d.Dir+"/io", "")
	if err != nil {
		t.Fatal(err)
	}
	f := &fifos{t: t, conf: cio.Config{Stdin: dir + "/in", Stdout: dir + "/out", Stderr: dir + "/err"}}
	for _, path := range []string{f.conf.Stdin, f.conf.Stdout, f.conf.Stderr} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fifos) creator() cio.Creator {
	return func(string) (cio.IO, error) { return uncopied{f.conf}, nil }
}

// uncopied is the client's side of streams that nobody copies.
type uncopied struct{ conf cio.Config }

func (u uncopied) Config() cio.Config { return u.conf }
func (uncopied) Cancel()              {}
func (uncopied) Wait()                {}
func (uncopied) Close() error         { return nil }

// reader opens an output for reading, as a client does that attaches.
func (f *fifos) reader(path string) io.ReadCloser {
	f.t.Helper()
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}
