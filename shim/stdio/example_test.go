// SPDX-License-Identifier: Apache-2.0

package stdio_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"foundry/shim/stdio"
)

// A process writes into a log file, as with `ctr run --log-uri file://...`.
func ExampleNewPump() {
	dir, err := os.MkdirTemp("", "stdio")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pump, err := stdio.NewPump(stdio.PumpConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer pump.Close()

	uri := "file://" + filepath.Join(dir, "logs", "web-1")
	io, err := pump.Open(context.Background(), stdio.Config{Stdout: uri, Stderr: uri, ContainerID: "web-1"})
	if err != nil {
		log.Fatal(err)
	}
	defer io.Close()
	cmd := exec.Command("sh", "-c", "echo one; echo two >&2") // the shim has its spawner for this
	_, out, errw := io.Child()
	cmd.Stdout, cmd.Stderr = out, errw
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	io.CloseChild()
	if err := io.Start(nil); err != nil {
		log.Fatal(err)
	}
	cmd.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := io.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "logs", "web-1"))
	fmt.Printf("%d bytes, %v\n", len(text), err)
	// Output: 8 bytes, <nil>
}
