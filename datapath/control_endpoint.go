// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"foundry/datapath/veth"
)

// AddEndpoint makes a pair with one end in the namespace, and answers when
// frames go through. The same once more is a success, and the record of the
// first. Something else under the name, and a MAC or an address that somebody
// has, are ErrConflict.
func (c *Control) AddEndpoint(ctx context.Context, r EndpointRecord) (EndpointRecord, error) {
	got, err := c.addEndpoint(ctx, r)
	if err != nil {
		return EndpointRecord{}, objectError("add", KindEndpoint, r.Name, err)
	}
	return got, nil
}

func (c *Control) addEndpoint(ctx context.Context, r EndpointRecord) (EndpointRecord, error) {
	r, err := r.complete()
	if err != nil {
		return r, err
	}
	ns, err := veth.OpenNS(r.NetNS)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	defer ns.Close()
	if r.NetNSID, err = identity(ns); err != nil {
		return r, err
	}
	r, there, err := c.reserve(ctx, r)
	if err != nil || there {
		return r, err
	}
	return c.establish(r, ns)
}

// identity tells a namespace from another that its path may name later.
func identity(ns *veth.NS) (string, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(ns.File().Fd()), &stat); err != nil {
		return "", fmt.Errorf("stat %s: %w", ns.File().Name(), err)
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino), nil
}

// reserve checks an endpoint against all others, and notes that its name, MAC
// and addresses are taken; there is true when it has been added already.
func (c *Control) reserve(ctx context.Context, r EndpointRecord) (_ EndpointRecord, there bool, err error) {
	if err := c.lockSettled(ctx, r.Name); err != nil {
		return r, false, err
	}
	defer c.mu.Unlock()
	if old, known := c.have.endpoints[r.Name]; known {
		if err := old.sameAs(r); err != nil {
			return r, false, err
		}
		if old.Broken == "" && alive(old) {
			return old, true, nil
		}
		if err := c.removeLocked(old, "its pair was gone when it was added again"); err != nil {
			return r, false, err
		}
	}
	if _, known := c.have.networks[r.VNI]; !known {
		return r, false, &ObjectError{Err: fmt.Errorf("network %d: %w", r.VNI, ErrNotFound), Remedy: "add the network first"}
	}
	if err := c.vacateLocked(r); err != nil {
		return r, false, err
	}
	if r.MTU, err = c.have.mtu(r); err != nil {
		return r, false, err
	}
	r.HostName = c.hostName(r.Name)
	c.pending[r.Name] = &transit{done: make(chan struct{}), hostName: r.HostName}
	c.have.claimEndpoint(r)
	return r, false, nil
}

// vacateLocked: nobody has the endpoint's MAC and addresses. An endpoint that
// is gone without a word, as one whose container died, does not keep them.
func (c *Control) vacateLocked(r EndpointRecord) error {
	for {
		what, who := c.have.owner(r.VNI, r.MAC, r.ips())
		if who == "" {
			return nil
		}
		name, _ := strings.CutPrefix(who, "endpoint ")
		owner, known := c.have.endpoints[name]
		if !known || c.pending[name] != nil || owner.Broken == "" && alive(owner) {
			return &ObjectError{Err: fmt.Errorf("%s: %w", what, ErrConflict), Owner: who, Remedy: "delete that one first"}
		}
		if err := c.removeLocked(owner, "its pair was gone when endpoint "+r.Name+" was to have its "+what); err != nil {
			return err
		}
	}
}

// lockSettled locks, when nobody is making or removing the endpoint.
// Postcondition: c.mu is held, unless there is an error.
func (c *Control) lockSettled(ctx context.Context, name string) error {
	for {
		c.mu.Lock()
		t := c.pending[name]
		if c.closed {
			c.mu.Unlock()
			return ErrClosed
		}
		if t == nil {
			return nil
		}
		c.mu.Unlock()
		select {
		case <-t.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settleLocked: the endpoint is made, or removed, or neither.
func (c *Control) settleLocked(name string) {
	close(c.pending[name].done)
	delete(c.pending, name)
}

// sameAs says what differs between an endpoint and one that is asked for.
// What was left open then is not asked for.
func (r EndpointRecord) sameAs(want EndpointRecord) error {
	for _, field := range []struct {
		name      string
		have, ask any
		same      bool
	}{
		{"network", r.VNI, want.VNI, r.VNI == want.VNI},
		{"namespace", r.NetNS, want.NetNS, r.NetNS == want.NetNS},
		{"namespace", r.NetNS + " as it was", want.NetNS + " as it is", r.NetNSID == want.NetNSID || !alive(r)},
		{"name in the container", r.Ifname, want.Ifname, r.Ifname == want.Ifname},
		{"MAC", r.MAC, want.MAC, r.MAC == want.MAC},
		{"addresses", r.Addrs, want.Addrs, slices.Equal(r.Addrs, want.Addrs)},
		{"MTU", r.MTU, want.MTU, want.MTU == 0 || r.MTU == want.MTU},
		{"mode", r.Mode, want.Mode, r.Mode == want.Mode},
		{"trust", r.Trusted, want.Trusted, r.Trusted == want.Trusted},
		{"routes", r.Routes, want.Routes, slices.Equal(r.Routes, want.Routes)},
	} {
		if !field.same {
			return &ObjectError{Err: fmt.Errorf("name: %w: its %s is %v, not %v", ErrConflict, field.name, field.have, field.ask),
				Owner: "endpoint " + r.Name, Remedy: "delete that one first"}
		}
	}
	return nil
}

// alive says whether the host's end of an endpoint is still that.
func alive(r EndpointRecord) bool {
	pair, err := veth.Find(r.Ifindex)
	return err == nil && pair.Name == r.HostName
}

// establish makes the pair, which is nobody's until it is recorded: the next
// start removes what it finds then. Pairs are made side by side.
func (c *Control) establish(r EndpointRecord, ns *veth.NS) (EndpointRecord, error) {
	c.mu.Lock()
	segments := c.have.segments()
	c.mu.Unlock()
	pair, err := c.makePair(r, ns, segments)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.settleLocked(r.Name)
	if err == nil {
		c.step("pair")
		r.Ifindex, r.MAC = pair.Ifindex, pair.MAC
		undo := Delta{DeleteEndpoints: []int{r.Ifindex}}
		if err = c.changeLocked(Delta{Put: State{Endpoints: []Endpoint{r.state()}}}, undo, edit{record: r}); err == nil {
			c.resizeLocked(segments) // the underlay may have come meanwhile
			return c.have.endpoints[r.Name], nil
		}
		err = errors.Join(err, veth.Delete(r.HostName))
	}
	c.have.disclaimEndpoint(r)
	return r, err
}

func (c *Control) makePair(r EndpointRecord, ns *veth.NS, segments int) (veth.Pair, error) {
	config := veth.Config{Name: r.HostName, NS: ns, Peer: r.Ifname, MAC: r.MAC, MTU: r.MTU, Addrs: r.Addrs, XDP: r.Mode == ModeXDP}
	if r.Mode == ModeTCX {
		config.GSO = segments
	}
	for _, route := range r.Routes {
		config.Routes = append(config.Routes, veth.Route{To: route.To, Via: route.Via})
	}
	pair, err := veth.Create(config)
	if errors.Is(err, veth.ErrExists) {
		return pair, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return pair, err
}

// instanceLen is how many characters tell an instance from others: with the
// 25 bits of them, and the 40 that are left for its endpoints, no two are the same.
const instanceLen = 5

// prefix is how the names of the host's ends begin, of this instance alone.
func (c *Control) prefix() string { return "fd" + short(filepath.Clean(c.config.Dir), instanceLen) }

// hostName is made of the endpoint's name, so that what a killed process has
// left is found. It is as long as a name may be.
func (c *Control) hostName(name string) string {
	prefix := c.prefix()
	return prefix + short(name, maxIfname-len(prefix))
}

func short(s string, length int) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:length]
}

// DeleteEndpoint takes an endpoint away, and its pair. Absent is success.
func (c *Control) DeleteEndpoint(ctx context.Context, name string) error {
	if err := c.deleteEndpoint(ctx, name); err != nil {
		return objectError("delete", KindEndpoint, name, err)
	}
	return nil
}

// deleteEndpoint: nobody finds the endpoint, then it forwards nothing, then
// its pair goes, and the record last: who is killed finds it again.
func (c *Control) deleteEndpoint(ctx context.Context, name string) error {
	if err := c.lockSettled(ctx, name); err != nil {
		return err
	}
	r, known := c.have.endpoints[name]
	if !known {
		c.mu.Unlock()
		return nil
	}
	c.pending[name] = &transit{done: make(chan struct{}), hostName: r.HostName}
	err := c.updateLocked(c.have.without(r))
	c.mu.Unlock()
	c.step("delete maps")
	if err == nil {
		err = veth.Delete(r.HostName)
		c.step("delete pair")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.settleLocked(name)
	if err == nil {
		err = c.recordLocked(edit{record: r, deleted: true})
		c.step("delete record")
	}
	return err
}

// removeLocked removes an endpoint that is broken, and says why.
func (c *Control) removeLocked(r EndpointRecord, why string) error {
	if err := c.updateLocked(c.have.without(r)); err != nil {
		return err
	}
	return errors.Join(veth.Delete(r.HostName), c.recordLocked(edit{record: r, deleted: true, note: why}))
}

// objectError adds to an error what the call was about.
func objectError(verb string, kind Kind, name string, err error) error {
	var e *ObjectError
	if !errors.As(err, &e) {
		return &ObjectError{Verb: verb, Kind: kind, Name: name, Err: err}
	}
	e.Verb, e.Kind, e.Name = verb, cmp.Or(e.Kind, kind), cmp.Or(e.Name, name)
	return e
}
