// SPDX-License-Identifier: Apache-2.0

package shim

//go:generate go run mkoptions.go

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	runc "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/pelletier/go-toml/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"foundry/shim/stdio"
)

// options is what Foundry heeds of a Create request's options and of the
// container's annotations. OptionTable says what each is.
type options struct {
	NoPivotRoot, NoNewKeyring bool
	UID, GID                  int // owner of the stdio pipes
	Backlog                   stdio.Backlog
	ExecOrphan                time.Duration
	Remarks                   []string // keys that mean nothing here
}

func defaultOptions() options {
	return options{Backlog: stdio.Backlog{Bytes: 1 << 20}}
}

// parseOptions reads the two kinds of options that containerd sends: the runc
// shim's (its task service accepts no others from clients) and, from CRI's
// configuration, runtimeoptions with a table in TOML.
func parseOptions(any *anypb.Any) (options, error) {
	o := defaultOptions()
	if any == nil {
		return o, nil
	}
	switch kind := typeName(any.TypeUrl); kind {
	case "":
		return o, nil
	case "containerd.runc.v1.Options":
		var m runc.Options
		if err := proto.Unmarshal(any.Value, &m); err != nil {
			return options{}, badRequest("options: %v", err)
		}
		return o, o.take(fieldsOf(&m))
	case "runtimeoptions.v1.Options":
		var m runtimeoptions.Options
		if err := proto.Unmarshal(any.Value, &m); err != nil {
			return options{}, badRequest("options: %v", err)
		}
		table, err := tableOf(&m)
		if err != nil {
			return options{}, err
		}
		return o, o.take(table)
	default:
		return options{}, badRequest("options of type %q (want containerd.runc.v1.Options or runtimeoptions.v1.Options)", kind)
	}
}

// typeName is the message name of a type URL, with or without a host.
func typeName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// tableOf reads the TOML of CRI's configuration, or the file that it names.
func tableOf(m *runtimeoptions.Options) (map[string]any, error) {
	text := m.ConfigBody
	if len(text) == 0 && m.ConfigPath != "" {
		f, err := os.Open(m.ConfigPath)
		if err != nil {
			return nil, badRequest("options: %v", err)
		}
		defer f.Close()
		if text, err = io.ReadAll(io.LimitReader(f, maxOptions+1)); err != nil {
			return nil, badRequest("options: %v", err)
		}
	}
	if len(text) > maxOptions {
		return nil, badRequest("options: %d bytes of TOML are the most that is read", maxOptions)
	}
	table := map[string]any{}
	if err := toml.Unmarshal(text, &table); err != nil {
		return nil, badRequest("options: parse TOML: %v", err)
	}
	return table, nil
}

// fieldsOf is a message as a table with the names that TOML has: those of its
// Go struct.
func fieldsOf(m proto.Message) map[string]any {
	table := map[string]any{}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		var name strings.Builder
		for word := range strings.SplitSeq(string(f.Name()), "_") {
			name.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
		value := v.Interface()
		if n, ok := value.(uint32); ok {
			value = int64(n)
		}
		table[name.String()] = value
		return true
	})
	return table
}

// take sets the options of a table. A key that is not known changes nothing;
// it may be for another version.
func (o *options) take(table map[string]any) error {
	for _, opt := range optionTable {
		value, ok := table[opt.Key]
		if !ok || opt.Key == "" {
			continue
		}
		delete(table, opt.Key)
		if opt.set == nil {
			if value != "" && value != false {
				o.Remarks = append(o.Remarks, "option "+opt.Key+" means nothing here: "+opt.Doc)
			}
			continue
		}
		if err := opt.set(o, value); err != nil {
			return badRequest("options: %s: %v", opt.Key, err)
		}
	}
	for key := range table {
		o.Remarks = append(o.Remarks, fmt.Sprintf("option %.100q is not known (docs/options.md has the list)", key))
	}
	slices.Sort(o.Remarks)
	return nil
}

// annotate sets what the container's annotations ask for; they come after the
// options of its runtime.
func (o *options) annotate(annotations map[string]string) error {
	for _, opt := range optionTable {
		text, ok := annotations[opt.Annotation]
		if !ok || opt.Annotation == "" {
			continue
		}
		if err := opt.set(o, opt.parse(text)); err != nil {
			return badRequest("config.json: annotations[%q]: %v", opt.Annotation, err)
		}
	}
	return nil
}

// remarks logs each remark once in the life of the server: a node has a
// handful of runtime handlers and makes thousands of containers with each.
type remarks struct {
	mu   sync.Mutex // guards seen
	seen map[string]bool
}

func (r *remarks) log(log *slog.Logger, list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range list {
		if !r.seen[text] && len(r.seen) < maxRemarks {
			if r.seen == nil {
				r.seen = map[string]bool{}
			}
			r.seen[text] = true
			log.Warn("options", "remark", text)
		}
	}
}
