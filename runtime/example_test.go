// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"context"
	"fmt"
	"os"

	"foundry/runtime"
)

func ExampleNew() {
	rt, err := runtime.New(runtime.Config{Root: "/run/foundry/example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rt.Close()
	// A spawner's client is connected here.
	fmt.Println(rt.Container("default", "web-1"))
	// Output: <nil>
}

func ExampleReclaim() {
	bundle, err := os.MkdirTemp("", "bundle")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(bundle)
	exit, found, err := runtime.Reclaim(context.Background(), runtime.ReclaimConfig{Namespace: "default", ID: "web-1", Bundle: bundle})
	fmt.Println(exit.Status, found, err)
	// Output: 137 false <nil>
}
