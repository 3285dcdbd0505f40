// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
)

// line is the one connection to containerd that all queues of a publisher
// share. It is made anew when it broke.
type line struct {
	address string

	mu     sync.Mutex // guards client and closed; held while dialling
	client *ttrpc.Client
	closed bool
}

// connect returns the connection, which it makes if there is none.
func (l *line) connect() (*ttrpc.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errStopping
	}
	if l.client != nil {
		return l.client, nil
	}
	// A unix connect waits only when the backlog is full.
	conn, err := net.DialTimeout("unix", strings.TrimPrefix(l.address, "unix://"), time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	l.client = ttrpc.NewClient(conn)
	return l.client, nil
}

// drop closes a connection that failed, unless another has done so.
func (l *line) drop(client *ttrpc.Client) {
	l.mu.Lock()
	if l.client == client {
		l.client = nil
	}
	l.mu.Unlock()
	client.Close()
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.client != nil {
		l.client.Close()
		l.client = nil
	}
}
