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
	goruntime "runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/containerd/ttrpc"

	"foundry/datapath/agent"
	"foundry/runtime"
	"foundry/runtime/spawn"
	"foundry/shim"
	"foundry/shim/stdio"
	"foundry/shim/trace"
	"foundry/shim/view"
)

// flushTime is for events that are still to be delivered when the server goes.
const flushTime = 5 * time.Second

// server is a running `foundryd serve`.
type server struct {
	flags   *flags
	log     *slog.Logger
	spawner *spawn.Client
	runtime *runtime.Runtime
	pump    *stdio.Pump
	pub     *shim.Publisher
	service *shim.Service
	ttrpc   *ttrpc.Server
	tasks   *shim.Listener
	control *net.UnixListener
	debug   *net.UnixListener
	agent   *agent.Agent
	agents  *net.UnixListener
	level   slog.LevelVar // of the log
	tracer  *trace.Tracer // nil: nothing is traced
	started time.Time
	groups  groups
	retire  chan struct{}
}

// serve is the server. It tells on the ready pipe how its start went.
func serve(f *flags) error {
	conn, slotsFile, ready, err := spawn.Inherited()
	if err != nil {
		return err
	}
	tune()
	s := &server{flags: f, started: time.Now(), retire: make(chan struct{}, 1)}
	if s.log, err = openLog(f, &s.level); err == nil {
		err = s.open(conn, slotsFile)
	}
	if err != nil {
		fmt.Fprintln(ready, err)
		return errors.Join(err, ready.Close())
	}
	go s.answer()
	fmt.Fprint(ready, "ok\n")
	if err := ready.Close(); err != nil {
		s.log.Warn("close ready pipe", "err", err)
	}
	s.log.Info("serving", "socket", f.socket, "pid", os.Getpid(), "spawner", os.Getppid())
	return s.untilEnd()
}

// tune sets the Go runtime for a process that idles for months: a heap that
// is mostly live data, few threads.
func tune() {
	debug.SetGCPercent(40)
	goruntime.GOMAXPROCS(min(goruntime.GOMAXPROCS(0), 8))
}

// open makes everything that the server consists of and binds its sockets.
func (s *server) open(conn, slotsFile *os.File) (err error) {
	s.groups.leave(s.flags.root, s.log)
	if s.pump, err = stdio.NewPump(stdio.PumpConfig{}); err != nil {
		return err
	}
	s.pub = shim.NewPublisher(shim.PublisherConfig{Address: s.flags.ttrpc, Log: s.log})
	s.startTracing()
	// The runtime reports to the service, which needs the runtime: the
	// variable is set before the first container can be made.
	var service *shim.Service
	rt, err := runtime.New(runtime.Config{
		Root: s.flags.root, Slots: slots(s.flags.root, s.flags.gen), Log: s.log,
		OnOOM:    func(namespace, id string) { service.OnOOM(namespace, id) },
		TraceEnv: func(ctx context.Context) []string { return trace.From(ctx).Env() },
	})
	if err != nil {
		return err
	}
	s.runtime = rt
	service = shim.New(shim.Config{Runtime: rt, Pump: s.pump, Publisher: s.pub, Log: s.log, Tracer: s.tracer})
	s.service = service
	if s.spawner, err = spawn.NewClient(conn, slotsFile, rt.HandleExit); err != nil {
		return err
	}
	rt.Connect(s.spawner)
	return s.listen()
}

// startTracing begins to trace when the environment asks for it. A mistake
// there is no reason not to serve.
func (s *server) startTracing() {
	cfg, ok, err := trace.FromEnv(os.Getenv)
	if err != nil {
		s.log.Error("nothing is traced", "err", err)
	}
	if err != nil || !ok {
		return
	}
	s.tracer = trace.New(cfg)
	s.log.Info("tracing", "endpoint", cfg.Endpoint)
}

func (s *server) listen() error {
	var err error
	if s.ttrpc, err = ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser())); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	s.service.Register(s.ttrpc)
	if s.control, err = shim.Listen(controlSocket(s.flags.root)); err != nil {
		return err
	}
	if s.debug, err = shim.Listen(debugSocket(s.flags.root)); err != nil {
		return err
	}
	if s.agents, err = shim.Listen(agentSocket(s.flags.root)); err != nil {
		return err
	}
	s.agent = newAgent(s.flags.root, s.log)
	// containerd's socket_dir need not exist.
	if err := os.MkdirAll(filepath.Dir(s.flags.socket), 0o700); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	l, err := shim.Listen(s.flags.socket)
	if err != nil {
		return err
	}
	s.tasks = shim.NewListener(l)
	return writeServerFile(s.flags)
}

// answer serves the sockets.
func (s *server) answer() {
	control := &shim.Control{
		Service: s.service, Accepted: s.tasks.Accepted,
		Retire: func() { s.retire <- struct{}{} },
		Listen: s.relisten,
	}
	go control.Serve(s.control)
	go s.serveDebug()
	go serveAgent(s.agent, s.agents, s.log)
	s.serveTasks(s.tasks)
}

func (s *server) serveDebug() {
	version, _ := build()
	d := &shim.Debug{
		Service: s.service, Level: &s.level, Log: logPath(s.flags.root),
		About: view.Server{
			Instance: s.flags.root, Version: version, Pid: os.Getpid(), Spawner: os.Getppid(),
			Socket: s.flags.socket, Containerd: s.flags.address, Started: s.started,
		},
	}
	if err := d.Serve(s.debug); err != nil {
		s.log.Error("nobody can look inside any more", "err", err)
	}
}

func (s *server) serveTasks(l net.Listener) {
	if err := s.ttrpc.Serve(context.Background(), l); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Error("serve tasks", "err", err)
	}
}

// relisten makes the task socket again after somebody has removed it. Those
// who are connected stay so.
func (s *server) relisten() error {
	l, err := shim.Listen(s.flags.socket)
	if err != nil {
		return err
	}
	s.log.Warn("the task socket was gone and is made again", "socket", s.flags.socket)
	go s.serveTasks(s.tasks.Also(l))
	return nil
}

// untilEnd watches for the reasons to stop, and gives memory back meanwhile.
func (s *server) untilEnd() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	rest, leaving := resting{}, false
	for {
		select {
		case <-s.spawner.Done():
			// Nothing can be reaped or started: the deletes that containerd
			// now calls clean up.
			s.log.Error("the spawner is gone")
			return errors.New("serve: the spawner is gone")
		case <-s.retire:
			return s.close() // the successor uses our cgroups
		case sig := <-signals:
			if sig == syscall.SIGUSR1 {
				s.dump()
				continue
			}
			leaving = true
			s.log.Info("stopping when the last container is deleted", "containers", s.service.Containers())
		case <-tick.C:
			rest.second(s.service.Calls())
		}
		if leaving && s.service.Containers() == 0 {
			err := s.close()
			s.groups.remove(s.log)
			return err
		}
	}
}

// dump writes the stacks of all goroutines to the log.
func (s *server) dump() {
	buf := make([]byte, 4<<20)
	s.log.Info("goroutines", "stacks", string(buf[:goruntime.Stack(buf, true)]))
}

// close ends a server without containers. What cannot be closed ends with the
// process.
func (s *server) close() error {
	s.log.Info("stopping")
	err := errors.Join(s.tasks.Close(), s.control.Close(), s.debug.Close(), s.agent.Close(),
		os.Remove(serverFile(s.flags.root)), os.Remove(slots(s.flags.root, s.flags.gen)))
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	err = errors.Join(err, s.pub.Flush(ctx))
	s.pub.Close()
	err = errors.Join(err, s.ttrpc.Close(), s.runtime.Close(), s.pump.Close(), s.tracer.Close(ctx))
	if err != nil {
		s.log.Warn("stop", "err", err)
	}
	return nil
}
