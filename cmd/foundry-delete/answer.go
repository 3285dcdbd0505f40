// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"foundry/runtime"
)

// askServer has a live server delete the container. Without an answer there
// is no server, or it does not know the container.
func (c *container) askServer(ctx context.Context) ([]byte, error) {
	if c.root == "" {
		return nil, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(c.root, "control.sock"))
	if err != nil {
		return nil, nil // no server: the files tell
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := fmt.Fprintf(conn, "delete %s %s\n", c.namespace, c.id); err != nil {
		return nil, fmt.Errorf("ask server to delete %q: %w", c.id, err)
	}
	said, err := io.ReadAll(conn)
	if err != nil {
		return nil, fmt.Errorf("ask server to delete %q: %w", c.id, err)
	}
	if answer, ok := bytes.CutPrefix(said, []byte("ok\n")); ok {
		return answer, nil
	}
	if text, ok := strings.CutPrefix(string(said), "error "); ok {
		return nil, fmt.Errorf("ask server to delete %q: %s", c.id, strings.TrimSpace(text))
	}
	return nil, nil
}

// response is a containerd.task.v2.DeleteResponse {1 pid, 2 exit_status, 3
// exited_at {1 seconds, 2 nanos}}. The generated message would link as much as
// all the rest.
func response(e runtime.Exit) []byte {
	var at []byte
	at = field(at, 1, uint64(e.At.Unix()))
	at = field(at, 2, uint64(e.At.Nanosecond()))
	out := field(nil, 1, uint64(e.Pid))
	out = field(out, 2, uint64(e.Status))
	out = protowire.AppendTag(out, 3, protowire.BytesType)
	return protowire.AppendBytes(out, at)
}

func field(b []byte, n protowire.Number, value uint64) []byte {
	if value == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), value)
}
