// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config says where spans go. Endpoint is required.
type Config struct {
	Endpoint string            // the whole URL
	Headers  map[string]string // of each request
	Timeout  time.Duration     // of one request; 0: 10 s
	Resource map[string]string // what the spans are of; service.name among it
	Ratio    float64           // of traces that begin here and are kept; 0: all
	Parents  bool              // whether a parent's choice goes before Ratio
	Client   *http.Client      // nil: one of its own
	Batch    time.Duration     // how long a span waits for others; 0: 2 s
}

var errProtocol = errors.New("not a protocol that is spoken here (http/protobuf is)")

// FromEnv reads what OpenTelemetry's specification names; getenv is that of os.
// Without an endpoint, or when it is switched off, there is no tracing.
//
//	OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces
//	OTEL_EXPORTER_OTLP_[TRACES_]{PROTOCOL,HEADERS,TIMEOUT,CERTIFICATE}
//	OTEL_TRACES_EXPORTER (otlp, none), OTEL_SDK_DISABLED
//	OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_RESOURCE_ATTRIBUTES
func FromEnv(getenv func(string) string) (Config, bool, error) {
	of := func(name string) string {
		if v := getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
			return v
		}
		return getenv("OTEL_EXPORTER_OTLP_" + name)
	}
	cfg := Config{Endpoint: getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), Parents: true}
	if base := getenv("OTEL_EXPORTER_OTLP_ENDPOINT"); cfg.Endpoint == "" && base != "" {
		cfg.Endpoint = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	exporter := getenv("OTEL_TRACES_EXPORTER")
	if cfg.Endpoint == "" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || exporter != "" && exporter != "otlp" {
		return Config{}, false, nil
	}
	if u, err := url.Parse(cfg.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Config{}, false, fmt.Errorf("read OTEL_EXPORTER_OTLP_ENDPOINT: %q is no http or https URL", cfg.Endpoint)
	}
	if p := of("PROTOCOL"); p != "" && p != "http/protobuf" {
		return Config{}, false, fmt.Errorf("read OTEL_EXPORTER_OTLP_PROTOCOL: %q: %w", p, errProtocol)
	}
	if v := of("TIMEOUT"); v != "" {
		ms, err := strconv.Atoi(v)
		if err != nil || ms <= 0 {
			return Config{}, false, fmt.Errorf("read OTEL_EXPORTER_OTLP_TIMEOUT: %q is no number of milliseconds", v)
		}
		cfg.Timeout = time.Duration(ms) * time.Millisecond
	}
	cfg.Headers, cfg.Resource = pairs(of("HEADERS")), pairs(getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if cfg.Resource["service.name"] == "" {
		cfg.Resource["service.name"] = "foundry"
	}
	if err := cfg.sampler(getenv("OTEL_TRACES_SAMPLER"), getenv("OTEL_TRACES_SAMPLER_ARG")); err != nil {
		return Config{}, false, err
	}
	return cfg, true, cfg.trust(of("CERTIFICATE"))
}

// pairs reads "key=value,key=value"; the values are as in a URL.
func pairs(text string) map[string]string {
	m := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		v = strings.TrimSpace(v)
		if plain, err := url.PathUnescape(v); err == nil {
			v = plain
		}
		m[strings.TrimSpace(k)] = v
	}
	return m
}

func (c *Config) sampler(name, arg string) error {
	name, c.Parents = strings.TrimPrefix(name, "parentbased_"), name == "" || strings.HasPrefix(name, "parentbased_")
	switch name {
	case "", "always_on":
	case "always_off":
		c.Ratio = -1
	case "traceidratio":
		ratio, err := strconv.ParseFloat(arg, 64)
		if arg != "" && (err != nil || ratio < 0 || ratio > 1) {
			return fmt.Errorf("read OTEL_TRACES_SAMPLER_ARG: %q is no number from 0 to 1", arg)
		}
		if c.Ratio = ratio; arg != "" && ratio == 0 {
			c.Ratio = -1
		}
	default:
		return fmt.Errorf("read OTEL_TRACES_SAMPLER: %q is not known (always_on, always_off, traceidratio, or parentbased_ and one of them)", name)
	}
	return nil
}

// trust has the collector's certificate checked against a file.
func (c *Config) trust(file string) error {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("read OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in %s", file)
	}
	c.Client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return nil
}
