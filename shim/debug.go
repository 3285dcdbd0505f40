// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"foundry/shim/flight"
	"foundry/shim/view"
)

const (
	debugHeader   = 5 * time.Second  // for a request to say what it wants
	debugIdle     = 30 * time.Second // for a connection between two requests
	debugMake     = 30 * time.Second // what an answer takes at most: a profile that names no time
	debugTake     = 30 * time.Second // for a reader to take it
	debugReaders  = 64               // connections at a time; more are closed
	maxLogLines   = 10_000
	maxLogBytes   = 1 << 20
	measureTime   = 2 * time.Second // for the cgroups of all containers together
	measureAtOnce = 4               // containers that are measured side by side
)

// Debug answers on the debug socket (package view has its paths). It reads:
// nothing that it does changes a container, and all that it takes longer for
// is bounded. What serving it costs is paid by the first who connects.
type Debug struct {
	Service *Service
	// About is what the program knows of itself; Containers and LogLevel are
	// filled in here.
	About view.Server
	Level *slog.LevelVar // of the log
	Log   string         // the log's path

	bound   time.Duration // of making and taking an answer; 0 is the usual one
	once    sync.Once
	handler http.Handler
}

// Serve answers until l is closed.
func (d *Debug) Serve(l *net.UnixListener) error {
	server := &http.Server{
		Handler: d, ReadHeaderTimeout: debugHeader, IdleTimeout: debugIdle,
		ErrorLog: slog.NewLogLogger(d.Service.log.Handler(), slog.LevelDebug),
	}
	defer server.Close() // and with it whoever is connected
	if err := server.Serve(SameUsers(l, debugReaders)); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve the debug socket: %w", err)
	}
	return nil
}

// SameUsers lets in processes of our own user alone, and no more than most of
// them at a time.
func SameUsers(l *net.UnixListener, most int) net.Listener {
	return sameUsers{l, make(chan struct{}, most)}
}

// sameUsers lets in processes of our own user alone, whatever the socket's
// mode, and no more than are read within reason: the descriptors are the containers' too.
type sameUsers struct {
	*net.UnixListener
	places chan struct{}
}

func (l sameUsers) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if sameUser(conn) {
			select {
			case l.places <- struct{}{}:
				return &reader{UnixConn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
			default:
			}
		}
		conn.Close()
	}
}

// reader is a connection that has a place.
type reader struct {
	*net.UnixConn
	leave func()
}

func (r *reader) Close() error {
	defer r.leave()
	return r.UnixConn.Close()
}

// ServeHTTP is that of an http.Handler.
func (d *Debug) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.once.Do(func() { d.handler = d.routes() })
	bound := cmp.Or(d.bound, debugMake+debugTake)
	if n, err := strconv.Atoi(r.URL.Query().Get("seconds")); err == nil { // of a profile
		bound = max(bound, time.Duration(min(n, 3600))*time.Second+debugTake)
	}
	// Who asks and does not read would keep the answer in our memory, and a place.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bound))
	d.handler.ServeHTTP(w, r)
}

func (d *Debug) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+view.Servers, d.answer(d.server))
	mux.HandleFunc("GET "+view.Containers, d.answer(d.containers))
	mux.HandleFunc("GET "+view.Containers+"/{namespace}/{id}", d.answer(d.container))
	mux.HandleFunc("GET "+view.Flights, d.answer(d.flights))
	mux.HandleFunc("GET "+view.Flights+"/{namespace}/{id}", d.answer(d.flight))
	mux.HandleFunc("GET "+view.Metrics, d.metrics)
	mux.HandleFunc("GET "+view.Log, d.log)
	mux.HandleFunc("GET "+view.LogLevel, d.level)
	mux.HandleFunc("PUT "+view.LogLevel, d.setLevel)
	mux.HandleFunc(view.Pprof, pprof.Index)
	mux.HandleFunc(view.Pprof+"profile", pprof.Profile)
	mux.HandleFunc(view.Pprof+"trace", pprof.Trace)
	mux.HandleFunc(view.Pprof+"symbol", pprof.Symbol)
	return mux
}

// answer writes what ask returns as JSON, and an error as a line of text.
func (d *Debug) answer(ask func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := ask(r)
		switch {
		case errors.Is(err, errNoContainer):
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// What fails here is the reader's connection: nobody can be told.
		_ = json.NewEncoder(w).Encode(v)
	}
}

func (d *Debug) server(*http.Request) (any, error) {
	s := d.About
	s.Tracing = d.Service.tracer.Endpoint()
	s.Containers, s.LogLevel = d.Service.Containers(), strings.ToLower(d.Level.Level().String())
	return s, nil
}

func (d *Debug) containers(r *http.Request) (any, error) {
	list := d.Service.list()
	if r.FormValue("usage") != "" {
		return d.Service.measured(r.Context(), list), nil
	}
	out := make([]view.Container, 0, len(list))
	for _, c := range list {
		out = append(out, c.view())
	}
	return out, nil
}

func (d *Debug) container(r *http.Request) (any, error) {
	k := Key{r.PathValue("namespace"), r.PathValue("id")}
	c := d.Service.table.get(k)
	if c == nil {
		return nil, fmt.Errorf("%s: %w", k, errNoContainer)
	}
	v := c.inspect(r.Context())
	v.Usage = d.Service.measured(r.Context(), []*container{c})[0].Usage
	return v, nil
}

func (d *Debug) flights(*http.Request) (any, error) { return d.Service.flight.All(), nil }

func (d *Debug) flight(r *http.Request) (any, error) {
	k := flight.Key{Namespace: r.PathValue("namespace"), ID: r.PathValue("id")}
	f, ok := d.Service.flight.Get(k)
	if !ok {
		return nil, fmt.Errorf("%s: %w, or gone for more than an hour", Key(k), errNoContainer)
	}
	return f, nil
}

// log sends the last lines of the server's log.
func (d *Debug) log(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("lines"))
	if err != nil || n < 0 {
		n = 100
	}
	text, err := lastLines(d.Log, min(n, maxLogLines))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(text)
}

// lastLines reads the end of a file.
func lastLines(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(max(0, end-maxLogBytes), io.SeekStart)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxLogBytes))
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	for i := len(text) - 2; i >= 0; i-- {
		if text[i] != '\n' {
			continue
		}
		if n--; n == 0 {
			return text[i+1:], nil
		}
	}
	return text, nil
}

func (d *Debug) level(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, strings.ToLower(d.Level.Level().String()))
}

func (d *Debug) setLevel(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(io.LimitReader(r.Body, 64))
	var level slog.Level
	if err := level.UnmarshalText(text); err != nil {
		http.Error(w, fmt.Sprintf("set log level: %v (debug, info, warn, error)", err), http.StatusBadRequest)
		return
	}
	d.Level.Set(level)
	d.level(w, r)
}
