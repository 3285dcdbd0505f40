// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"foundry/bpf"
	"foundry/datapath/veth"
)

// Reconcile compares records, maps and links, and what is alive on the
// machine, and makes them equal: an endpoint whose pair is gone is removed, a
// pair, a link or an entry that nobody owns too, and what is missing is put
// back. dryRun only says what would be done.
func (c *Control) Reconcile(ctx context.Context, dryRun bool) ([]Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	changes, err := c.reconcileLocked(ctx, dryRun)
	if dryRun {
		return changes, err
	}
	for _, change := range changes {
		c.counts.repaired += uint64(change.Count)
	}
	c.counts.lastError = ""
	if err != nil {
		c.counts.lastError = err.Error()
	}
	return changes, err
}

// survey is what does not fit to the records.
type survey struct {
	gone   map[string]bool   // endpoints without their pair
	orphan []string          // host's ends, and devices of tunnels, that are nobody's
	down   []EndpointRecord  // endpoints whose host's end somebody has set down
	failed map[string]string // endpoints with a pair that no program can be attached to, and why
}

func (c *Control) reconcileLocked(ctx context.Context, dryRun bool) ([]Change, error) {
	found, err := c.surveyLocked()
	if err != nil {
		return nil, err
	}
	if dryRun {
		changes, err := c.data.Diff(c.stateLocked(found))
		return append(found.changes(), changes...), err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	underlay := c.followAtStartLocked()
	changes, err := c.setLocked(found)
	if err = errors.Join(underlay, err); err != nil {
		return changes, err
	}
	c.step("set")
	return append(changes, found.changes()...), c.clearLocked(found)
}

// setLocked makes maps and links what they are to be. One device that takes
// no program is no reason to leave all others without theirs: its endpoint is
// broken, until a later try succeeds; an uplink is used without XDP.
func (c *Control) setLocked(found survey) (all []Change, err error) {
	for range len(c.have.endpoints) + 2 {
		changes, err := c.data.Set(c.stateLocked(found))
		all = append(all, changes...)
		if err == nil {
			return all, nil
		}
		program, port := c.culpritLocked(found)
		name, ours := c.have.hasPair(port)
		switch u := c.have.underlay; {
		case ours && found.failed[name] == "":
			c.log.Error("endpoint is broken", "endpoint", name, "cause", err)
			found.failed[name] = err.Error()
		case program == "xdp_uplink" && u.XDP == XDPAuto && u.Native:
			c.log.Warn("the uplink runs no XDP", "device", u.Ifname, "error", err)
			without := *u
			without.Native, without.NoXDP = false, err.Error()
			if failed := c.recordLocked(edit{record: without, note: err.Error()}); failed != nil {
				return all, errors.Join(err, failed)
			}
		default:
			return all, err
		}
	}
	return all, err
}

// culpritLocked is the first program that is still not attached, and where.
func (c *Control) culpritLocked(found survey) (program string, port int) {
	left, err := c.data.Diff(c.stateLocked(found))
	if err != nil {
		return "", 0
	}
	for _, change := range left {
		if change.Object == "link" && (change.Verb == "attach" || change.Verb == "update") {
			name, number, _ := strings.Cut(change.Key, "-")
			port, _ = strconv.Atoi(number)
			return name, port
		}
	}
	return "", 0
}

// followAtStartLocked makes the underlay what it is, in the record alone: the
// maps follow with all the rest.
func (c *Control) followAtStartLocked() error {
	if c.have.underlay == nil {
		return nil
	}
	was := *c.have.underlay
	now, why := c.followLocked(was)
	if now == was {
		return nil
	}
	c.todo.allPeers = true
	c.wake()
	return c.recordLocked(edit{record: now, note: why})
}

func (c *Control) stateLocked(found survey) State {
	return c.have.state(func(name string) bool {
		return found.gone[name] || found.failed[name] != "" || c.pending[name] != nil
	})
}

func (c *Control) surveyLocked() (s survey, err error) {
	links, err := linksByIndex()
	if err != nil {
		return s, err
	}
	s.gone, s.failed = map[string]bool{}, map[string]string{}
	owned := map[string]bool{}
	if c.have.underlay != nil {
		owned[c.tunnelName(*c.have.underlay)] = true
	}
	for _, t := range c.pending {
		owned[t.hostName] = true
	}
	for _, r := range c.have.endpoints {
		owned[r.HostName] = true
		switch link := links[r.Ifindex]; {
		case c.pending[r.Name] != nil:
		case link.Name != r.HostName:
			s.gone[r.Name] = true
		case link.Flags&net.FlagUp == 0:
			s.down = append(s.down, r)
		}
	}
	for _, link := range links {
		if strings.HasPrefix(link.Name, c.prefix()) && !owned[link.Name] {
			s.orphan = append(s.orphan, link.Name)
		}
	}
	slices.Sort(s.orphan)
	return s, nil
}

func (s survey) changes() (list []Change) {
	for name := range s.gone {
		list = append(list, Change{"delete", "endpoint", name, 1})
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	for _, name := range s.orphan {
		list = append(list, Change{"delete", "device", name, 1})
	}
	for _, r := range s.down {
		list = append(list, Change{"raise", "device", r.HostName, 1})
	}
	return list
}

// clearLocked removes what a survey found, and says so.
func (c *Control) clearLocked(s survey) error {
	var errs []error
	for _, name := range s.orphan {
		c.log.Warn("removing a device that is nobody's", "device", name)
		remove := veth.Delete
		if len(name) < maxIfname { // that of a tunnel: see hostName
			remove = veth.DeleteVXLAN
		}
		errs = append(errs, remove(name))
	}
	for _, r := range s.down {
		c.log.Warn("setting the device of an endpoint up again", "endpoint", r.Name, "device", r.HostName)
		errs = append(errs, veth.Raise(r.Ifindex))
	}
	var edits []edit
	for _, r := range c.endpointsLocked() {
		switch {
		case s.gone[r.Name]:
			why := cmp.Or(r.Broken, "its pair is gone")
			c.log.Warn("removing an endpoint", "endpoint", r.Name, "cause", why)
			// Its host's end may be there under another number.
			errs = append(errs, veth.Delete(r.HostName))
			edits = append(edits, edit{record: r, deleted: true, note: why})
		case r.Broken != s.failed[r.Name] && c.pending[r.Name] == nil:
			r.Broken = s.failed[r.Name]
			edits = append(edits, edit{record: r, note: cmp.Or(r.Broken, "it forwards again")})
		}
	}
	c.step("clear")
	err := c.recordLocked(edits...)
	if err == nil {
		c.counts.removed += uint64(len(s.gone))
	}
	return errors.Join(append(errs, err)...)
}

// Counters returns what happened to the frames of an endpoint, or of all and
// the uplink when name is empty.
func (c *Control) Counters(name string) ([]Counter, error) {
	c.mu.Lock()
	ports, closed := map[uint32]string{0: ""}, c.closed
	for port, who := range c.have.byPort {
		ports[uint32(port)] = who
	}
	_, known := c.have.endpoints[name]
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if name != "" && !known {
		return nil, &ObjectError{Verb: "read counters of", Kind: KindEndpoint, Name: name, Err: ErrNotFound}
	}
	counts, err := c.data.Counters()
	if err != nil {
		return nil, err
	}
	var list []Counter
	for key, n := range counts {
		who, ours := ports[key.Endpoint]
		if !ours || name != "" && who != name {
			continue
		}
		direction := "from"
		if key.Direction == bpf.TCDirectionDIR_TO {
			direction = "to"
		}
		list = append(list, Counter{Endpoint: who, Direction: direction, Action: c.names.Actions[key.Action], Reason: c.names.Reasons[key.Reason],
			Packets: n.Packets, Bytes: n.Bytes})
	}
	slices.SortFunc(list, func(a, b Counter) int {
		return strings.Compare(fmt.Sprint(a.Endpoint, a.Direction, a.Action, a.Reason), fmt.Sprint(b.Endpoint, b.Direction, b.Action, b.Reason))
	})
	return list, nil
}
