// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"

	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// featuresType is how containerd registers the runtime-spec's features.
const featuresType = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

// info prints a RuntimeInfo. containerd asks for it when it starts, once for
// each configured handler, and hands the options back to whoever asked it.
func info(stdin *os.File, stdout io.Writer) error {
	options, err := readOptions(stdin)
	if err != nil {
		return err
	}
	what, err := json.Marshal(supported())
	if err != nil {
		return fmt.Errorf("print info: %w", err)
	}
	v, revision := build()
	out, err := proto.Marshal(&types.RuntimeInfo{
		Name:     "io.containerd.foundry.v1",
		Version:  &types.RuntimeVersion{Version: v, Revision: revision},
		Options:  options,
		Features: &anypb.Any{TypeUrl: featuresType, Value: what},
	})
	if err != nil {
		return fmt.Errorf("print info: %w", err)
	}
	_, err = stdout.Write(out)
	return err
}

// readOptions reads the options that containerd may have written to stdin. A
// terminal is a person, who has none.
func readOptions(stdin *os.File) (*anypb.Any, error) {
	st, err := stdin.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice != 0 {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(stdin, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("print info: read options: %w", err)
	}
	var options anypb.Any
	if len(data) == 0 || proto.Unmarshal(data, &options) != nil || options.TypeUrl == "" {
		return nil, nil
	}
	return &options, nil
}

// version prints what containerd's shims print for -v.
func version(stdout io.Writer) error {
	v, revision := build()
	_, err := fmt.Fprintf(stdout, "containerd-shim-foundry-v1:\n  Version:  %s\n  Revision: %s\n  Go version: %s\n\n",
		v, revision, goruntime.Version())
	return err
}

// build says what this binary was built from.
func build() (version, revision string) {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return b.Main.Version, revision
}
