// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
)

// openStdin opens the client's fifo, and without a terminal the process's pipe.
func (io *IO) openStdin() error {
	t, err := parseURI(io.cfg.Stdin)
	if err != nil {
		return fmt.Errorf("stdin: %w", err)
	}
	switch t.kind {
	case kindNull:
		return nil
	case kindPath:
	default:
		return fmt.Errorf("stdin: %q is not a fifo", io.cfg.Stdin)
	}
	src, err := openStdinFifo(t.path)
	if err != nil {
		return fmt.Errorf("stdin: %w", err)
	}
	s := &stream{tag: HoldStdin, mode: copied, src: src}
	io.stdin = io.add(s)
	if io.cfg.Terminal {
		return nil
	}
	s.mode = splice
	s.dst, io.child[0], err = io.cfg.makePipe("stdin", true)
	return err
}

// openOutputs opens what stdout and stderr go to. The URI of stdout rules, as
// with containerd's runc shim: a file or log program takes both, unless
// stderr names something else.
func (io *IO) openOutputs(ctx context.Context) error {
	out, err := parseURI(io.cfg.Stdout)
	if err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	errs, err := parseURI(io.cfg.Stderr)
	if err != nil {
		return fmt.Errorf("stderr: %w", err)
	}
	same := io.cfg.Stderr == io.cfg.Stdout || errs.kind == kindNull
	switch {
	case out.program() && (same || io.cfg.Terminal):
		return io.openLogger(ctx, out)
	case out.program() || errs.program() && !io.cfg.Terminal:
		return errors.New("a log program takes stdout and stderr: give both the same URI")
	}
	dst, err := openSink(out)
	if err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	if err := io.addOutput(HoldStdout, dst); err != nil || io.cfg.Terminal {
		return err
	}
	if same && dst != nil && (dst.hold == nil && errs.kind != kindNull || out.kind == kindFile) {
		return io.addOutput(HoldStderr, dst.ref())
	}
	if dst, err = openSink(errs); err != nil {
		return fmt.Errorf("stderr: %w", err)
	}
	return io.addOutput(HoldStderr, dst)
}

// openSink opens what an output goes to; nil is nothing.
func openSink(t target) (*file, error) {
	switch t.kind {
	case kindPath:
		return openPath(t.path)
	case kindFile:
		return openAppend(t.path, true)
	}
	return nil, nil
}

// addOutput adds the stream of stdout or stderr; it owns dst. Nothing to
// write to is /dev/null for the process, but a terminal must be read all the same.
func (io *IO) addOutput(tag uint64, dst *file) error {
	if dst == nil && !io.cfg.Terminal {
		return nil
	}
	s := &stream{tag: tag, mode: copied, dst: dst}
	if dst == nil {
		s.mode = discard
	} else if !dst.pipe {
		s.toFile, s.alone = true, true
	} else {
		s.fifo = true
	}
	io.outputs = append(io.outputs, io.add(s))
	if io.cfg.Terminal {
		return nil
	}
	if dst.pipe {
		s.mode = splice
	}
	var err error
	s.src, io.child[tag-1], err = io.cfg.makePipe(outputName(tag), false)
	return err
}

func outputName(tag uint64) string {
	if tag == HoldStdout {
		return "stdout"
	}
	return "stderr"
}

// add makes s a stream of io.
func (io *IO) add(s *stream) *stream {
	s.pump, s.io = io.pump, io
	io.mu.Lock()
	io.open++
	if s.tag != HoldStdin {
		io.flowing++
	}
	io.mu.Unlock()
	io.pump.mu.Lock()
	io.pump.open++
	io.pump.mu.Unlock()
	return s
}
