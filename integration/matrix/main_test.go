// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"os"
	"testing"

	"foundry/integration/env"
)

func TestMain(m *testing.M) {
	if err := env.ResetSignals(); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
