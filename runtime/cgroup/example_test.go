// SPDX-License-Identifier: Apache-2.0

package cgroup_test

import (
	"context"
	"log"
	"time"

	"foundry/runtime/cgroup"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func ExampleCreate() {
	info, err := cgroup.Host()
	if err != nil {
		log.Fatal(err)
	}
	limit := int64(64 << 20)
	g, err := cgroup.Create(cgroup.Config{
		Info:      info,
		Path:      "/ns/web-1",
		Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}},
	})
	if err != nil {
		log.Fatal(err) // nothing is left
	}
	defer g.Remove()
	files, err := g.JoinFiles() // for the stage
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleNewWatcher() {
	w, err := cgroup.NewWatcher()
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	info, err := cgroup.Host()
	if err != nil {
		log.Fatal(err)
	}
	g, err := cgroup.Open(info, "/ns/web-1")
	if err != nil {
		log.Fatal(err)
	}
	stop, err := w.Watch(g, func() { log.Print("web-1: a process was killed for want of memory") })
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
}

func ExampleLeave() {
	info, err := cgroup.Host()
	if err != nil {
		log.Fatal(err)
	}
	if err := cgroup.Leave(cgroup.Config{Info: info, Path: "/foundry/0123/server"}, 4711); err != nil {
		log.Fatal(err)
	}
}
