// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"foundry/bpf"
	"foundry/datapath/store"
)

// ControlConfig says where a Control keeps what it knows. Dir and Store are
// needed.
type ControlConfig struct {
	Dir      string        // on a bpffs, of this instance alone
	Store    string        // file; on a memory file system no call waits for a disk
	Log      *slog.Logger  // nil: nobody is told
	Interval time.Duration // between two reconcilings; 0: a minute, negative: none but those asked for
	MaxFDB   int           // as Config.MaxFDB
	History  int           // changes kept for watches; 0: 8192

	fault func(step string) // of tests: called between the steps of a change
}

// Control keeps the data plane equal to the records that it is given, and the
// records true to the machine: pairs of devices are made and removed with
// their endpoints, next hops and MTUs follow the underlay, and what somebody
// else changed is repaired or reported. Its methods may be called at once.
type Control struct {
	config ControlConfig
	data   *Datapath
	store  *store.Store
	log    *slog.Logger
	names  bpf.Names
	stop   context.CancelFunc
	work   sync.WaitGroup // what stop ends
	done   chan struct{}  // closed by Close
	kick   chan struct{}  // something is due, see todo

	probing sync.Mutex
	able    Capabilities // as found out, guarded by probing

	mu       sync.Mutex // all below; a change is made while it is held, except for the pair of an endpoint
	have     records
	pending  map[string]*transit // endpoints whose pairs are being made or removed
	revision uint64
	changed  chan struct{} // closed with the next change
	closed   bool
	todo     todo
	neighs   map[netip.Addr]MAC // of the uplink, as last seen
	paths    map[netip.Addr]narrow
	counts   counts
}

// transit is an endpoint between two states.
type transit struct {
	done     chan struct{}
	hostName string
}

type counts struct {
	repaired, removed, lost uint64
	lastError               string
}

// StartControl reads the records, takes over the pinned maps and links, makes
// both equal to what is alive on the machine, and watches from there on. ctx
// bounds the start alone.
func StartControl(ctx context.Context, config ControlConfig) (*Control, error) {
	c := &Control{config: config, log: cmp.Or(config.Log, slog.New(slog.DiscardHandler)), done: make(chan struct{}), kick: make(chan struct{}, 1),
		have: newRecords(), pending: map[string]*transit{}, changed: make(chan struct{}), neighs: map[netip.Addr]MAC{}, paths: map[netip.Addr]narrow{}}
	if err := c.start(ctx); err != nil {
		return nil, fmt.Errorf("start control of data plane: %w", errors.Join(err, c.release()))
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.work.Go(func() { c.watchHost(background) })
	c.work.Go(func() { c.maintain(background) })
	for _, network := range []string{"ip4:icmp", "ip6:ipv6-icmp"} {
		c.work.Go(func() { c.listenPaths(background, network) })
	}
	return c, nil
}

func (c *Control) start(ctx context.Context) (err error) {
	if c.store, err = store.Open(store.Config{Path: c.config.Store, History: c.config.History}); err != nil {
		return err
	}
	if err = c.load(); err != nil {
		return err
	}
	if c.names, err = readNames(); err != nil {
		return err
	}
	if c.data, err = Open(Config{Dir: c.config.Dir, MaxFDB: c.config.MaxFDB}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	changes, err := c.reconcileLocked(ctx, false)
	if err == nil && len(changes) > 0 {
		c.log.Info("took over the data plane", "changes", len(changes), "endpoints", len(c.have.endpoints))
	}
	return err
}

func readNames() (bpf.Names, error) {
	spec, err := bpf.LoadTC()
	if err != nil {
		return bpf.Names{}, fmt.Errorf("load programs of tc: %w", err)
	}
	return bpf.ReadNames(spec)
}

// Close ends watching and lets go of records and maps. What is pinned goes on
// forwarding, and the next Control takes it over.
func (c *Control) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.done)
	c.mu.Unlock()
	c.stop()
	c.work.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.release()
}

func (c *Control) release() error {
	if c.data != nil {
		c.data.Close()
	}
	if c.store == nil {
		return nil
	}
	return c.store.Close()
}

// Datapath is what Control drives: to read, as who changes it is undone.
func (c *Control) Datapath() *Datapath { return c.data }

// Status says how things are.
func (c *Control) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Revision: c.revision, Endpoints: len(c.have.endpoints), Networks: len(c.have.networks), Peers: len(c.have.peers),
		Remotes: len(c.have.remotes.packed), Repaired: c.counts.repaired, Removed: c.counts.removed, Lost: c.counts.lost, LastError: c.counts.lastError}
	for _, e := range c.have.endpoints {
		if e.Broken != "" {
			s.Broken++
		}
	}
	for _, p := range c.have.peers {
		if p.Stale {
			s.StalePeers++
		}
	}
	if u := c.have.underlay; u != nil {
		s.Uplink, s.Encap = u.Ifname, u.Using
	}
	if !c.closed {
		s.Oldest, _, _ = c.store.Revisions()
	}
	return s
}

// step is between two steps of a change: a test may end the process there.
func (c *Control) step(name string) {
	if c.config.fault != nil {
		c.config.fault(name)
	}
}
