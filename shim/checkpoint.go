// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	runc "github.com/containerd/containerd/api/types/runc/options"
	"google.golang.org/protobuf/proto"

	"foundry/runtime"
)

// checkpointConfig reads a Checkpoint request. containerd sends the options of
// the runc shim, or none: then the container goes on running.
func checkpointConfig(r *task.CheckpointTaskRequest) (runtime.CheckpointConfig, error) {
	cfg := runtime.CheckpointConfig{Image: r.Path}
	switch kind := typeName(r.Options.GetTypeUrl()); kind {
	case "":
	case "containerd.runc.v1.CheckpointOptions":
		var o runc.CheckpointOptions
		if err := proto.Unmarshal(r.Options.Value, &o); err != nil {
			return cfg, badRequest("checkpoint %q: options: %v", r.ID, err)
		}
		cfg.Exit, cfg.OpenTCP, cfg.ExternalUnixSockets, cfg.FileLocks = o.Exit, o.OpenTcp, o.ExternalUnixSockets, o.FileLocks
		cfg.Work = o.WorkPath
		if o.ImagePath != "" {
			cfg.Image = o.ImagePath
		}
	default:
		return cfg, badRequest("checkpoint %q: options of type %q (want containerd.runc.v1.CheckpointOptions)", r.ID, kind)
	}
	if cfg.Image == "" {
		return cfg, badRequest("checkpoint %q: no path for the images", r.ID)
	}
	return cfg, nil
}

// checkpoint writes the processes of c to files. The container may be running
// or paused; its state stays, and an end that was asked for comes as an exit.
func (c *container) checkpoint(ctx context.Context, cfg runtime.CheckpointConfig) error {
	return c.run.Checkpoint(ctx, cfg)
}
