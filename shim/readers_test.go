// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"foundry/shim/view"
)

// TestReadersThatDoNotRead: they lose the connection, and are not so many that
// the server runs out of descriptors.
func TestReadersThatDoNotRead(t *testing.T) {
	d, _ := debugged(t)
	d.bound = time.Second
	must(t, os.WriteFile(d.Log, bytes.Repeat([]byte(strings.Repeat("x", 127)+"\n"), maxLogBytes/128), 0o600))
	path := filepath.Join(t.TempDir(), view.Socket)
	l, err := Listen(path)
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Serve(l) })
	defer wg.Wait()
	defer l.Close()
	ask := func() net.Conn {
		conn, err := net.Dial("unix", path)
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, _ = conn.Write([]byte("GET " + view.Log + "?lines=100000 HTTP/1.1\r\nHost: x\r\n\r\n")) // EPIPE is for the reader
		return conn
	}
	for range debugReaders {
		ask()
	}
	if n, err := ask().Read(make([]byte, 1)); err == nil {
		t.Errorf("one too many: got %d bytes", n)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn := ask()
		n, _ := conn.Read(make([]byte, 1))
		conn.Close()
		if n == 1 { // though nobody has read or closed
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("readers that do not read keep their places")
		}
	}
}
