// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Each remark is logged once, and a flood of different ones ends.
func TestRemarksAreLoggedOnce(t *testing.T) {
	var log strings.Builder
	var r remarks
	for range 3 {
		r.log(slog.New(slog.NewTextHandler(&log, nil)), []string{"one", "two"})
	}
	for i := range 2 * maxRemarks {
		r.log(slog.New(slog.NewTextHandler(&log, nil)), []string{fmt.Sprint("flood", i)})
	}
	if got := strings.Count(log.String(), "\n"); got != maxRemarks {
		t.Errorf("got %d lines, want %d", got, maxRemarks)
	}
}
