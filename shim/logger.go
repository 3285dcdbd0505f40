// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"os"

	"foundry/runtime"
	"foundry/shim/stdio"
)

// spawnLogger has the runtime start a log program, so that it is a child of
// the spawner, outlives the server, and is charged to the helpers' cgroup.
func (s *Service) spawnLogger(ctx context.Context, l stdio.Logger) (stdio.LoggerProcess, error) {
	p, err := s.runtime.Helper(ctx, runtime.HelperConfig{
		Path: l.Path, Args: append([]string{l.Path}, l.Args...), Env: l.Env, Dir: "/",
		Files: []*os.File{nil, nil, nil, l.Files[0], l.Files[1], l.Files[2]},
		OnExit: func(e runtime.Exit) {
			l.OnExit()
			go func() {
				if err := e.Ack(); err != nil {
					s.log.Warn("exit of log program", "path", l.Path, "err", err)
				}
			}()
		},
	})
	if err != nil {
		return nil, err
	}
	return &logProgram{p, s.runtime}, nil
}

// logProgram is a log program that runs.
type logProgram struct {
	*runtime.Process
	rt *runtime.Runtime
}

// Kill kills it and what it has started.
func (p *logProgram) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	return p.rt.KillHelper(ctx, p.Process)
}
