// SPDX-License-Identifier: Apache-2.0

package spawn_test

import (
	"context"
	"fmt"
	"os"

	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// A server runs one program of the host and waits for its exit.
func ExampleNewClient() {
	conn, slots, ready, err := spawn.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	exits := make(chan spawn.Exit, 100) // the function must not block
	client, err := spawn.NewClient(conn, slots, func(e spawn.Exit) { exits <- e })
	if err != nil {
		fmt.Fprintln(ready, err)
		return
	}
	fmt.Fprintln(ready, "ok")
	p, err := client.Spawn(context.Background(), spawn.Request{
		Key:   1,
		Plan:  plan.NewHelper(plan.Helper{Path: "/bin/true"}),
		Files: make([]*os.File, 3), // standard input, output and error are /dev/null
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer p.Close()
	if _, err := p.Sync(context.Background()); err != nil { // PointExec: it runs
		fmt.Fprintln(os.Stderr, err)
	}
	e := <-exits
	fmt.Println(e.Status)
	if err := client.Ack(e); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// `foundryd boot` becomes the spawner, which starts `foundryd serve`.
func ExampleBoot() {
	err := spawn.Boot(spawn.BootConfig{
		Slots:  "/run/foundry/ID/slots-1",
		Server: []string{"/usr/local/bin/foundryd", "serve"},
		Ready:  os.NewFile(3, "ready"),
	})
	fmt.Fprintln(os.Stderr, err) // it has not
}

// The command line makes a process that waits, and a later call starts it.
func ExampleOneShot() {
	p, err := spawn.OneShot(context.Background(), spawn.OneShotConfig{
		Plan:  plan.NewHelper(plan.Helper{Path: "/bin/true"}),
		Files: make([]*os.File, 3),
		Slots: "/run/foundry/cli/web/slot",
		Fifo:  "/run/foundry/cli/web/start",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(p.Pid)
	if err := spawn.StartOneShot(context.Background(), "/run/foundry/cli/web/slot", "/run/foundry/cli/web/start"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
