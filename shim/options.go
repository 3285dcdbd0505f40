// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"strconv"
	"strings"

	runc "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// options is what Foundry heeds of a Create request's options.
type options struct {
	NoPivotRoot, NoNewKeyring bool
	UID, GID                  int // owner of the stdio pipes
}

// parseOptions reads the two kinds of options that containerd sends: the runc
// shim's (its task service accepts no others from clients) and, from CRI's
// configuration, runtimeoptions. What concerns the runc binary or the shim's
// own cgroup is ignored: there is no such binary, and the shim is shared.
func parseOptions(any *anypb.Any) (options, error) {
	if any == nil {
		return options{}, nil
	}
	switch kind := typeName(any.TypeUrl); kind {
	case "":
		return options{}, nil
	case "containerd.runc.v1.Options":
		var o runc.Options
		if err := proto.Unmarshal(any.Value, &o); err != nil {
			return options{}, badRequest("options: %v", err)
		}
		return options{NoPivotRoot: o.NoPivotRoot, NoNewKeyring: o.NoNewKeyring, UID: int(o.IoUid), GID: int(o.IoGid)}, nil
	case "runtimeoptions.v1.Options":
		var o runtimeoptions.Options
		if err := proto.Unmarshal(any.Value, &o); err != nil {
			return options{}, badRequest("options: %v", err)
		}
		return parseTable(string(o.ConfigBody))
	default:
		return options{}, badRequest("options of type %q (want containerd.runc.v1.Options or runtimeoptions.v1.Options)", kind)
	}
}

// typeName is the message name of a type URL, with or without a host.
func typeName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// parseTable reads the options table that CRI hands over as TOML: one
// `Key = value` a line, as its encoder writes it. Keys that are not ours are
// ignored, as is a table within the table.
func parseTable(text string) (options, error) {
	var o options
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if strings.HasPrefix(key, "[") {
			break // a sub-table, and whatever follows belongs to it
		}
		if !found || strings.HasPrefix(key, "#") {
			continue
		}
		if err := o.set(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return options{}, badRequest("options: %s: %v", strings.TrimSpace(key), err)
		}
	}
	return o, nil
}

func (o *options) set(key, value string) (err error) {
	switch key {
	case "NoPivotRoot":
		o.NoPivotRoot, err = strconv.ParseBool(value)
	case "NoNewKeyring":
		o.NoNewKeyring, err = strconv.ParseBool(value)
	case "IoUid":
		o.UID, err = strconv.Atoi(value)
	case "IoGid":
		o.GID, err = strconv.Atoi(value)
	}
	return err
}
