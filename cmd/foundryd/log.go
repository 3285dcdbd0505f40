// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

const maxLog = 8 << 20 // bytes of log, and as many of log.1

// openLog opens the instance's log file.
func openLog(f *flags, level *slog.LevelVar) (*slog.Logger, error) {
	w := &logFile{path: logPath(f.root)}
	if err := w.open(); err != nil {
		return nil, err
	}
	if f.debug {
		level.Set(slog.LevelDebug)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
}

func logPath(root string) string { return filepath.Join(root, "log") }

// logFile is a file that makes room for itself: when it is full it becomes
// log.1, in place of an older one.
type logFile struct {
	path string

	mu   sync.Mutex // guards what follows
	file *os.File
	size int64
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open log: %w", err)
	}
	l.file, l.size = f, st.Size()
	return nil
}

// Write is that of an io.Writer. slog hands over one record at a time.
func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(b)) > maxLog {
		l.rotateLocked()
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	return n, err
}

// rotateLocked begins a new file. When it cannot, the old one grows on.
func (l *logFile) rotateLocked() {
	old := l.file
	if os.Rename(l.path, l.path+".1") != nil {
		return
	}
	if l.open() == nil {
		old.Close()
	}
}
