// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"foundry/shim/stdio"
)

// Option is one thing that a runtime's options in containerd's configuration,
// or a container's annotation, can ask for. docs/options.md is made of them.
type Option struct {
	Key        string // in the options; "" is an annotation only
	Annotation string // the same for one container; "" is none
	Type       string // boolean, integer, string
	Default    string
	Doc        string

	set func(*options, any) error // nil: accepted, and means nothing here
}

// optionTable is made once: each create goes through it twice.
var optionTable = append(ownOptions(), foreignOptions()...)

// OptionTable returns all options. What means nothing here has no setter.
func OptionTable() []Option { return slices.Clone(optionTable) }

func ownOptions() []Option {
	return []Option{
		{"NoPivotRoot", "", "boolean", "false",
			"Enter the root file system without pivot_root, for a host that runs from a ramfs.",
			boolean(func(o *options, v bool) { o.NoPivotRoot = v })},
		{"NoNewKeyring", "", "boolean", "false",
			"Leave the container the session keyring of the server instead of one of its own.",
			boolean(func(o *options, v bool) { o.NoNewKeyring = v })},
		{"IoUid", "", "integer", "0",
			"Owner of the pipes that are the process's standard streams, so that a user namespace's root may open /dev/stdout.",
			integer(most32, func(o *options, v int64) { o.UID = int(v) })},
		{"IoGid", "", "integer", "0",
			"Group of these pipes.",
			integer(most32, func(o *options, v int64) { o.GID = int(v) })},
		{"LogRing", "foundry.log.ring", "integer", "1048576",
			"Bytes of stdout, and as many of stderr, that are kept while nobody reads them, above the 128 KiB of the pipes. " +
				"Memory is taken as it is needed and given back when the bytes have been read; all containers together " +
				"get 64 MiB, and the largest rings pay first. 0 keeps nothing: the process waits when the pipes are full.",
			integer(mostRing, func(o *options, v int64) { o.Backlog.Bytes = int(v) })},
		{"LogLoss", "foundry.log.loss", "string", "absent",
			"When the oldest lines may be dropped for newer ones because the ring is full. `absent`: while no client has the " +
				"fifo open any more, as when containerd is stopped, or its log program has died; a client that is slow, or has " +
				"not come yet, is waited for. `never`: the process waits. `full`: whoever reads; the process waits for nobody, also not for a " +
				"stopped client or a full disk under file://. What is dropped is counted and logged.",
			oneOf(map[string]func(*options){
				"absent": func(o *options) { o.Backlog.Loss = stdio.LossAbsent },
				"never":  func(o *options) { o.Backlog.Loss = stdio.LossNever },
				"full":   func(o *options) { o.Backlog.Loss = stdio.LossFull },
			})},
		{"LogMark", "foundry.log.mark", "boolean", "false",
			"Put a line into the output where bytes were dropped: `[foundry: N bytes lost while nobody read]`.",
			boolean(func(o *options, v bool) { o.Backlog.Mark = v })},
		{"ExecOrphanTimeout", "foundry.exec.orphan", "integer", "0",
			"Seconds after which an exec whose stdout and stderr nobody has open for reading any more gets SIGHUP, and " +
				"SIGKILL when it is still there as many seconds (10 at most) later. 0: it may stay.",
			integer(mostOrphan, func(o *options, v int64) { o.ExecOrphan = time.Duration(v) * time.Second })},
	}
}

// foreignOptions are the runc shim's that have no object here. Configurations
// carry them from one runtime to the next, so they are no error.
func foreignOptions() []Option {
	return []Option{
		{"SystemdCgroup", "", "boolean", "", "The driver follows from the path: `slice:prefix:name` is systemd's, anything else is a cgroup's.", nil},
		{"BinaryName", "", "string", "", "No OCI program is executed.", nil},
		{"Root", "", "string", "", "There is no directory of runc's state; FOUNDRY_ROOT moves ours.", nil},
		{"ShimCgroup", "", "string", "", "The server is shared by all containers and has a cgroup of its own.", nil},
		{"CriuPath", "", "string", "", "criu is found on the server's PATH.", nil},
		{"CriuImagePath", "", "string", "", "Where a checkpoint goes is in the request for it.", nil},
		{"CriuWorkPath", "", "string", "", "Where criu works is in the request for a checkpoint.", nil},
		{"TaskApiAddress", "", "string", "", "The server makes its own socket.", nil},
		{"TaskApiVersion", "", "integer", "", "Both versions of the task API are served.", nil},
	}
}

const (
	most32     = 1<<32 - 2
	mostRing   = 64 << 20 // all there is for all rings
	mostOrphan = 1 << 20  // seconds
)

func boolean(set func(*options, bool)) func(*options, any) error {
	return func(o *options, v any) error {
		b, ok := v.(bool)
		if !ok {
			return wrongType("true or false", v)
		}
		set(o, b)
		return nil
	}
}

func integer(most int64, set func(*options, int64)) func(*options, any) error {
	return func(o *options, v any) error {
		n, ok := v.(int64)
		if !ok {
			return wrongType("an integer", v)
		}
		if n < 0 || n > most {
			return fmt.Errorf("want 0 to %d, got %d", most, n)
		}
		set(o, n)
		return nil
	}
}

func oneOf(values map[string]func(*options)) func(*options, any) error {
	return func(o *options, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType("a string", v)
		}
		set, ok := values[s]
		if !ok {
			return fmt.Errorf("want %s, got %.100q", strings.Join(slices.Sorted(maps.Keys(values)), ", "), s)
		}
		set(o)
		return nil
	}
}

func wrongType(want string, got any) error {
	return fmt.Errorf("want %s, got %T %.100s", want, got, fmt.Sprint(got))
}

// parse reads the text of an annotation as TOML would. What is not of the type
// stays text, and the setter says what it wants.
func (o Option) parse(text string) any {
	switch o.Type {
	case "boolean":
		if text == "true" || text == "false" {
			return text == "true"
		}
	case "integer":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	return text
}

// Means reports whether the option changes anything here.
func (o Option) Means() bool { return o.set != nil }
