// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"

	"foundry/runtime/plan"
)

func ExampleNewHelper() {
	fmt.Print(plan.NewHelper(plan.Helper{Path: "/usr/bin/hook", Args: []string{"hook", "createRuntime"}, Env: []string{"PATH=/bin"}, Dir: "/bundle"}))
	// Output:
	// clone
	// setsid
	// dup stdin as 0
	// dup stdout as 1
	// dup stderr as 2
	// umask 022
	// chdir /bundle
	// exec-host /usr/bin/hook [hook createRuntime] env [PATH=/bin]
}
