// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"foundry/runtime"
	"foundry/shim"
)

// deleteTime is less than the 5 s that containerd gives `delete`: they begin
// before this program does, and with as many others as a dead server had
// containers.
const deleteTime = 4 * time.Second

// remove is the slow path of `delete`: the server did not leave an answer in
// the bundle. If there is a server it is asked, because it holds the
// container; else the files tell what there is to clean up.
func remove(f *flags) error {
	if f.namespace == "" || f.id == "" {
		return errors.New("delete: no -namespace or -id")
	}
	if f.bundle == "" {
		f.bundle = "."
	}
	bundle, err := filepath.Abs(f.bundle)
	if err != nil {
		return fmt.Errorf("delete %q: %w", f.id, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteTime)
	defer cancel()
	answer, err := askServer(ctx, f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "foundryd:", err) // containerd logs it; we go on without the server
	}
	if answer == nil {
		answer, err = os.ReadFile(filepath.Join(bundle, shim.ExitFile))
	}
	if errors.Is(err, fs.ErrNotExist) || answer == nil {
		if answer, err = reclaim(ctx, f, bundle); err != nil {
			return err
		}
	}
	if _, err := os.Stdout.Write(answer); err != nil {
		return fmt.Errorf("delete %q: %w", f.id, err)
	}
	return nil
}

// askServer has a live server delete the container. Without an answer there
// is no server, or it does not know the container.
func askServer(ctx context.Context, f *flags) ([]byte, error) {
	if f.root == "" {
		return nil, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", controlSocket(f.root))
	if err != nil {
		return nil, nil // no server: the files tell
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := fmt.Fprintf(conn, "delete %s %s\n", f.namespace, f.id); err != nil {
		return nil, fmt.Errorf("ask server to delete %q: %w", f.id, err)
	}
	said, err := io.ReadAll(conn)
	if err != nil {
		return nil, fmt.Errorf("ask server to delete %q: %w", f.id, err)
	}
	if answer, ok := bytes.CutPrefix(said, []byte("ok\n")); ok {
		return answer, nil
	}
	if text, ok := strings.CutPrefix(string(said), "error "); ok {
		return nil, fmt.Errorf("ask server to delete %q: %s", f.id, strings.TrimSpace(text))
	}
	return nil, nil
}

// reclaim cleans up from the files alone.
func reclaim(ctx context.Context, f *flags, bundle string) ([]byte, error) {
	exit, _, err := runtime.Reclaim(ctx, runtime.ReclaimConfig{
		Root: f.root, Namespace: f.namespace, ID: f.id, Bundle: bundle,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), // containerd logs it
	})
	if err != nil {
		return nil, err
	}
	answer, err := proto.Marshal(&task.DeleteResponse{
		Pid: uint32(exit.Pid), ExitStatus: uint32(exit.Status), ExitedAt: timestamppb.New(exit.At),
	})
	if err != nil {
		return nil, fmt.Errorf("delete %q: encode answer: %w", f.id, err)
	}
	return answer, nil
}
