// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"foundry/datapath"
	"foundry/datapath/agent"
	"foundry/shim"
)

// agentPeers are connections to the agent at a time.
const agentPeers = 64

func agentSocket(root string) string { return filepath.Join(root, "agent.sock") }

// newAgent makes the agent of an instance, which has opened nothing yet. Its
// records are as lasting as what they describe: a reboot ends both.
func newAgent(root string, log *slog.Logger) *agent.Agent {
	pins, prepare := os.Getenv("FOUNDRY_BPFFS"), func() error { return nil }
	if pins == "" {
		pins, prepare = filepath.Join(datapath.BPFFS, "foundry"), datapath.MountBPFFS
	}
	v, _ := build()
	return agent.New(agent.Config{
		BPFFS: filepath.Join(pins, filepath.Base(root)), Store: filepath.Join(root, "net.db"), Version: v, Log: log, Prepare: prepare,
		MaxFDB: maxFDB(log),
	})
}

// maxFDB is how many entries the FDB has room for; 0 is the usual number.
func maxFDB(log *slog.Logger) int {
	text := os.Getenv("FOUNDRY_MAX_FDB")
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil && text != "" {
		log.Error("the FDB has its usual size", "FOUNDRY_MAX_FDB", text, "err", err)
	}
	return int(n)
}

// serveAgent takes over the networks that there are, and answers about them.
func serveAgent(a *agent.Agent, l *net.UnixListener, log *slog.Logger) {
	go takeOver(a, log)
	if err := a.Serve(shim.SameUsers(l, agentPeers)); err != nil {
		log.Error("networks cannot be changed any more", "err", err)
	}
}

// takeOver looks after the networks that there are. What stands in the way, a
// predecessor that is not gone yet, a bpffs that is not mounted, may go away.
func takeOver(a *agent.Agent, log *slog.Logger) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := a.Start(context.Background())
		if err == nil || errors.Is(err, agent.ErrClosed) {
			return
		}
		log.Error("networks are not looked after; what is set up goes on", "err", err, "again_in", wait)
		time.Sleep(wait)
	}
}

// instanceRoot is the directory of an instance in full. Pins are in a directory
// of the same name: that of "." would be the one that has those of all instances.
func instanceRoot(root string) (string, error) {
	if root == "" {
		return "", errors.New("no -root")
	}
	full, err := filepath.Abs(root)
	if err == nil && full == "/" {
		err = fmt.Errorf("-root %s: it has no name that an instance could have (name a directory of its own)", root)
	}
	return full, err
}

// agentAlone is a server of networks without containers: for hosts whose
// containers are somebody else's.
func agentAlone(f *flags) error {
	var err error
	if f.root, err = instanceRoot(f.root); err != nil {
		return fmt.Errorf("serve agent: %w", err)
	}
	if err := os.MkdirAll(f.root, 0o700); err != nil {
		return fmt.Errorf("serve agent: %w", err)
	}
	if conn, err := net.DialTimeout("unix", agentSocket(f.root), time.Second); err == nil {
		conn.Close()
		return fmt.Errorf("serve agent: somebody answers at %s already", agentSocket(f.root))
	}
	level := slog.LevelInfo
	if f.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	l, err := shim.Listen(agentSocket(f.root))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	tune()
	a := newAgent(f.root, log)
	go serveAgent(a, l, log)
	<-ctx.Done()
	return a.Close()
}
