// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

var (
	errProtocol = errors.New("not a protocol that is spoken here (http/protobuf and http/json are)")
	errEndpoint = errors.New("no http or https URL")
)

// endpoint is where the environment says that spans go, "" for nowhere. The SDK
// reads all of it again. Here is what it leaves to the program: that without an
// endpoint there is no tracing, what switches it off, and mistakes after which
// no span would ever arrive.
func endpoint() (string, error) {
	const prefix = "OTEL_EXPORTER_OTLP_"
	name := prefix + "TRACES_ENDPOINT"
	at := os.Getenv(name)
	if base := os.Getenv(prefix + "ENDPOINT"); at == "" && base != "" {
		name, at = prefix+"ENDPOINT", strings.TrimSuffix(base, "/")+"/v1/traces"
	}
	exporter := os.Getenv("OTEL_TRACES_EXPORTER")
	if at == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || exporter != "" && exporter != "otlp" {
		return "", nil
	}
	if u, err := url.Parse(at); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("read %s: %q: %w", name, os.Getenv(name), errEndpoint)
	}
	name = prefix + "TRACES_PROTOCOL"
	if os.Getenv(name) == "" {
		name = prefix + "PROTOCOL"
	}
	switch p := os.Getenv(name); p {
	case "", "http/protobuf", "http/json":
		return at, nil
	default:
		return "", fmt.Errorf("read %s: %q: %w", name, p, errProtocol)
	}
}
