// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// access has the kernel's BPF_DEVCG_ACC_* bits.
type access uint32

const (
	accMknod access = 1 << iota
	accRead
	accWrite
	accAll = accMknod | accRead | accWrite
)

const anyNumber = -1

// device says which nodes a rule is about.
type device struct {
	kind         byte // 'c' or 'b'
	major, minor int64
}

// ruleset is what the kernel's v1 device controller keeps: a default and the
// exceptions from it. The v2 filter is compiled from the same, so that one
// list of rules means the same on both.
type ruleset struct {
	allow  bool // the default
	except map[device]access
}

// alwaysAllowed is what runc grants besides the rules of the spec: making any
// node, and the devices that every container has. Clients rely on it: ctr and
// CRI deny everything and list only what is special.
var alwaysAllowed = []specs.LinuxDeviceCgroup{
	rule("c", anyNumber, anyNumber, "m"),
	rule("b", anyNumber, anyNumber, "m"),
	rule("c", 1, 3, "rwm"),           // null
	rule("c", 1, 5, "rwm"),           // zero
	rule("c", 1, 7, "rwm"),           // full
	rule("c", 1, 8, "rwm"),           // random
	rule("c", 1, 9, "rwm"),           // urandom
	rule("c", 5, 0, "rwm"),           // tty
	rule("c", 5, 2, "rwm"),           // ptmx
	rule("c", 136, anyNumber, "rwm"), // pts
	rule("c", 10, 200, "rwm"),        // net/tun
}

func rule(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: access}
}

// rulesOf applies the rules of a spec in their order to "deny all", then the
// standard ones.
func rulesOf(list []specs.LinuxDeviceCgroup) (ruleset, error) {
	set := ruleset{except: map[device]access{}}
	for n, r := range list {
		if err := set.add(r); err != nil {
			return ruleset{}, &LimitError{fmt.Sprintf("devices[%d]", n), err.Error()}
		}
	}
	for _, r := range alwaysAllowed {
		if err := set.add(r); err != nil {
			return ruleset{}, &LimitError{"devices", fmt.Sprintf("a standard device collides: %v", err)}
		}
	}
	return set, nil
}

// add follows the kernel: a rule of type a replaces everything before it, any
// other adds an exception or takes one away.
func (s *ruleset) add(r specs.LinuxDeviceCgroup) error {
	acc, err := parseAccess(r.Access)
	if err != nil {
		return err
	}
	var d device
	if d.major, err = deviceNumber(r.Major); err != nil {
		return err
	}
	if d.minor, err = deviceNumber(r.Minor); err != nil {
		return err
	}
	switch r.Type {
	case "", "a":
		*s = ruleset{allow: r.Allow, except: map[device]access{}}
		return nil
	case "b", "c":
		d.kind = r.Type[0]
	default:
		return fmt.Errorf("type %q is not a, b or c", r.Type)
	}
	if r.Allow != s.allow {
		s.except[d] |= acc
		return nil
	}
	return s.remove(d, acc)
}

// deviceNumber is a number of a rule. None, or -1, is any; that other negative
// ones mean the widest rule of all nobody would guess.
func deviceNumber(given *int64) (int64, error) {
	if given == nil {
		return anyNumber, nil
	}
	if *given < anyNumber {
		return 0, fmt.Errorf("number %d is not that of a device, nor -1 for any", *given)
	}
	return *given, nil
}

// remove takes an exception away. The kernel ignores it silently when a wider
// exception remains, which would grant what the rule was to deny: refused.
func (s *ruleset) remove(d device, acc access) error {
	for _, wide := range []device{{d.kind, anyNumber, d.minor}, {d.kind, d.major, anyNumber}, {d.kind, anyNumber, anyNumber}} {
		if wide != d && s.except[wide]&acc != 0 {
			return fmt.Errorf("%s cannot be taken out of the wider %s; name the devices one by one", line(d, acc), line(wide, s.except[wide]))
		}
	}
	if s.except[d] &^= acc; s.except[d] == 0 {
		delete(s.except, d)
	}
	return nil
}

func parseAccess(text string) (access, error) {
	var acc access
	for _, c := range text {
		switch c {
		case 'r':
			acc |= accRead
		case 'w':
			acc |= accWrite
		case 'm':
			acc |= accMknod
		default:
			return 0, fmt.Errorf("access %q is not made of r, w and m", text)
		}
	}
	if acc == 0 {
		return 0, fmt.Errorf("access is empty")
	}
	return acc, nil
}

func (s ruleset) equal(o ruleset) bool { return s.allow == o.allow && maps.Equal(s.except, o.except) }

// sorted gives the exceptions in an order that does not change between runs.
func (s ruleset) sorted() []device {
	return slices.SortedFunc(maps.Keys(s.except), func(a, b device) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
	})
}

// String is the text of devices.list, and the key of the program cache.
func (s ruleset) String() string {
	text := "deny"
	if s.allow {
		text = "allow"
	}
	for _, d := range s.sorted() {
		text += "\n" + line(d, s.except[d])
	}
	return text
}

// line writes one rule the way devices.allow and devices.deny take it.
func line(d device, acc access) string {
	text := string(d.kind) + " " + wild(d.major) + ":" + wild(d.minor) + " "
	for _, b := range []struct {
		bit  access
		name string
	}{{accRead, "r"}, {accWrite, "w"}, {accMknod, "m"}} {
		if acc&b.bit != 0 {
			text += b.name
		}
	}
	return text
}

func wild(n int64) string {
	if n == anyNumber {
		return "*"
	}
	return strconv.FormatInt(n, 10)
}

// parseRules reads devices.list. When the default is to allow, the kernel
// shows no exceptions: what they are cannot be told.
func parseRules(text string) (ruleset, error) {
	set := ruleset{except: map[device]access{}}
	for l := range strings.Lines(text) {
		f := strings.Fields(strings.ReplaceAll(l, ":", " "))
		if len(f) != 4 {
			return set, fmt.Errorf("read devices.list: %q is not a rule", l)
		}
		if f[0] == "a" {
			return ruleset{allow: true, except: map[device]access{}}, nil
		}
		d := device{f[0][0], anyNumber, anyNumber}
		if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			d.major = n
		}
		if n, err := strconv.ParseInt(f[2], 10, 64); err == nil {
			d.minor = n
		}
		acc, err := parseAccess(f[3])
		if err != nil {
			return set, fmt.Errorf("read devices.list: %w", err)
		}
		set.except[d] |= acc
	}
	return set, nil
}
