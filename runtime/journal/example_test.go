// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"fmt"
	"os"

	"foundry/runtime/journal"
)

func ExampleCreate() {
	root, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root)
	dir, err := journal.Dir(root, "default", "web-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	j, err := journal.Create(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer j.Remove()
	if err := j.Append(journal.Entry{Kind: journal.Cgroup, Path: "/default/web-1"}); err != nil {
		fmt.Println(err)
		return
	}
	entries, err := j.Entries()
	fmt.Println(journal.Fold(entries).Cgroup, err)
	// Output: /default/web-1 <nil>
}

func ExampleOpen() {
	_, err := journal.Open(context.Background(), "/nonexistent")
	fmt.Println(err)
	// Output: open journal: open /nonexistent/journal: no such file or directory
}
