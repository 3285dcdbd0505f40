// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"strings"
	"testing"

	"github.com/containerd/ttrpc"
)

// An id becomes a directory and comes back in errors: one of megabytes would
// be an answer that ttrpc cannot carry.
func TestKeyRefusesWhatIsNoName(t *testing.T) {
	for _, row := range []struct {
		namespace, id string
		ok            bool
	}{
		{"default", "web", true},
		{"default", strings.Repeat("x", 255), true},
		{"default", strings.Repeat("x", 256), false},
		{strings.Repeat("x", 256), "web", false},
		{"default", "", false},
		{"", "web", false},
	} {
		ctx := ttrpc.WithMetadata(context.Background(), ttrpc.MD{"containerd-namespace-ttrpc": {row.namespace}})
		_, err := key(ctx, row.id)
		if (err == nil) != row.ok {
			t.Errorf("%.10q %.10q: got %v, want ok %t", row.namespace, row.id, err, row.ok)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%.10q %.10q: an error of %d bytes", row.namespace, row.id, len(err.Error()))
		}
	}
}
